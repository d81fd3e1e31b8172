"""Every regular expression in the source, and texts made from each to make it slow."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]  # the tree that `re` itself compiles from
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("gateway", "routers", "experts")
#: What reads the operator's own text, or a developer's, and nothing that comes over the wire.
NOT_ON_THE_WIRE: Final = (
    "gateway/cli/",
    "gateway/settings/",
    "routers/training/",
    "experts/nano/",
    "experts/backends/__main__.py",
)

_CALLS: Final = ("compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn")
_ANCHORED: Final = {"match", "fullmatch"}
_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
#: A repetition of fewer is part of what is repeated.
_MANY: Final = 8
_MOST_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A regular expression in the source.

    Attributes:
        path: Of the file, from the root.
        pattern: Compiled.
        anchored: Whether it is only ever tried at one place of a text.
    """

    path: str
    pattern: re.Pattern[Any]
    anchored: bool

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.path}: {self.pattern.pattern!r}"


def found() -> list[Found]:
    """All of them.

    Raises:
        ValueError: One is made within a function, of what only a call knows.
    """
    every: dict[tuple[str, Any, int], Found] = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(NOT_ON_THE_WIRE):
                continue
            for one in _in_file(path, ast.parse(file.read_text("utf-8"))):
                every[one.path, one.pattern.pattern, one.pattern.flags] = one
    return list(every.values())


def _in_file(path: str, tree: ast.Module) -> Iterator[Found]:
    calls = [node for node in ast.walk(tree) if _is_call(node)]
    if not calls:
        return
    within = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for call in calls:
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant) and id(call) in within:
            yield Found(path, re.compile(first.value), call.func.attr in _ANCHORED)
        elif id(call) in within:
            raise ValueError(f"{path}:{call.lineno}: a regular expression is made at run time")
    module = importlib.import_module(
        "pointsman." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    )
    for name, value in vars(module).items():
        uses = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
        }
        anchored = isinstance(value, re.Pattern) and bool(uses) and uses <= _ANCHORED
        yield from (Found(path, pattern, anchored) for pattern in _patterns(value))


def _is_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in _CALLS
    )


def _patterns(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _patterns(one)
    elif isinstance(value, tuple | list | frozenset):
        for one in value:
            yield from _patterns(one)


@dataclass(frozen=True, slots=True)
class Attack:
    """A text of any length that may take long: `begin`, `again` many times, `end`."""

    begin: str
    again: str
    end: str

    def text(self, chars: int, like: Any) -> Any:
        """So many characters of it, as text or bytes as the pattern reads them."""
        said = self.begin + self.again * (chars // len(self.again)) + self.end
        return said.encode("latin-1", "replace") if isinstance(like, bytes) else said


def attacks(pattern: re.Pattern[Any]) -> set[Attack]:
    """Whatever is repeated in a pattern, behind what leads to it and before what cannot follow; and what many know."""
    source = pattern.pattern
    tree = _parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(source, bytes) else pattern.flags)
    repeated = set(_repeats(tree, ("",)))
    whole = set(itertools.islice(_samples(tree), _MOST_SAMPLES))
    said = {again for _, again in repeated} | {begin + again for begin, again in repeated} | whole
    said |= {begin for begin, _ in repeated} | {text[: len(text) // 2] for text in whole}
    letters = {char for text in said for char in text}
    plain = {
        ("", text) for text in said | letters | {" ", "\n", "\r\n", "a", "A", "0", "a ", "_", ".", ",", '"', "\\", "("}
    }
    made = {
        Attack(begin, again, end) for begin, again in repeated | plain if again for end in ("", "\0", "!", "\n\n", "a")
    }
    return {one for one in made if isinstance(source, str) or (one.begin + one.again).isascii()}


def _repeats(tree: Any, before: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What stands before each repetition, and what is repeated."""
    for operation, argument in tree:
        if operation in _REPEATS:
            _, most, inner = argument
            samples = [text for text in itertools.islice(_samples(inner), _MOST_SAMPLES) if text]
            if most > _MANY:
                yield from itertools.product(before, samples)
            yield from _repeats(inner, before)
        else:
            for inner in _within(operation, argument):
                yield from _repeats(inner, before)
        ends = list(itertools.islice(_samples([(operation, argument)]), 2))
        before = tuple(dict.fromkeys(begin + end for begin in before for end in ends))[:_MOST_SAMPLES] or before


def _within(operation: Any, argument: Any) -> list[Any]:
    if operation is sre.BRANCH:
        return list(argument[1])
    if operation is sre.SUBPATTERN:
        return [argument[-1]]
    if operation in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return [argument] if operation is sre.ATOMIC_GROUP else []


def _samples(tree: Any) -> Iterator[str]:
    """Texts that a part of a pattern matches, more or less."""
    parts = [list(itertools.islice(_of_one(operation, argument), _MOST_SAMPLES)) for operation, argument in tree]
    for chosen in itertools.islice(itertools.zip_longest(*parts), _MOST_SAMPLES):
        yield "".join(part[0] if one is None else one for one, part in zip(chosen, parts, strict=True) if part)
    if not parts:
        yield ""


def _of_one(operation: Any, argument: Any) -> Iterator[str]:
    if operation is sre.LITERAL:
        yield chr(argument)
    elif operation is sre.NOT_LITERAL:
        yield "a" if argument != ord("a") else "b"
    elif operation is sre.ANY:
        yield from "a "
    elif operation is sre.IN:
        yield from _of_class(argument)
    elif operation in _REPEATS:
        least, most, inner = argument
        for text in _samples(inner):
            yield text * max(least, min(1, most))
        if not least:
            yield ""
    else:
        for inner in _within(operation, argument):
            if operation not in (sre.ASSERT, sre.ASSERT_NOT):
                yield from _samples(inner)


def _of_class(members: Any) -> Iterator[str]:
    kinds = {sre.CATEGORY_DIGIT: "1", sre.CATEGORY_SPACE: " \n", sre.CATEGORY_WORD: "a1", sre.CATEGORY_NOT_SPACE: "a"}
    if members[0][0] is sre.NEGATE:
        pattern = re.compile("[^" + "".join(_written(*member) for member in members[1:]) + "]")
        yield from (char for char in "a 0\"'\n.\\é" if pattern.match(char))
        return
    for operation, argument in members:
        if operation is sre.LITERAL:
            yield chr(argument)
        elif operation is sre.RANGE:
            yield chr(argument[0])
        else:
            yield from kinds.get(argument, "-")


def _written(operation: Any, argument: Any) -> str:
    if operation is sre.LITERAL:
        return re.escape(chr(argument))
    if operation is sre.RANGE:
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    return {sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_WORD: r"\w"}.get(argument, r"\W")
