"""Strict YAML: duplicate keys are errors, numbers are what they look like, and every value knows its line.

PyYAML speaks YAML 1.1, in which `no` is false, `1e-3` is text and `12:30` is 750. The loader here resolves scalars as
YAML 1.2's core schema does, because a budget that silently becomes something else is worse than an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pointsman.gateway.settings.base import SettingsError

Path = tuple[str | int, ...]

_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN))$"
)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")


#: A file of settings is a few thousand characters; these are ends that nobody comes near but by mistake or malice.
_MOST_CHARACTERS = 4 * 1024 * 1024
_MOST_NODES = 200_000
#: What the core schema and merge keys make; a file may name these itself.
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map", "merge")
_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema's scalars."""

    # A fresh table: PyYAML's add_implicit_resolver would otherwise extend the inherited one.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own protocol


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", _BOOL, "tTfF"),
    ("tag:yaml.org,2002:int", _INT, "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+.0123456789"),
    ("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile(r"^<<$"), "<"),
):
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))


#: A tag that a file writes itself must be of a value that looks like it.
_SCALARS = {
    f"tag:yaml.org,2002:{kind}": pattern
    for kind, pattern in (("bool", _BOOL), ("int", _INT), ("float", _FLOAT), ("null", _NULL))
}


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Attributes:
        data: Plain dicts, lists and scalars.
        lines: Path of a key or list item -> line, counted from 1.
    """

    data: dict[str, Any]
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, path: Sequence[str | int]) -> int | None:
        """Line of the path, or of its nearest parent that stands in the file."""
        for end in range(len(path), 0, -1):
            found = self.lines.get(tuple(path[:end]))
            if found is not None:
                return found
        return None


def shown_path(path: Sequence[str | int]) -> str:
    """`('pool', 'experts', 2, 'base_url')` as `pool.experts[2].base_url`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def parse(text: str, source: str) -> Document:
    """Parse a settings file.

    Args:
        text: The YAML.
        source: The file's name, for errors.

    Raises:
        SettingsError: It is not YAML, not a mapping, or has duplicate or non-text keys.
    """
    if len(text) > _MOST_CHARACTERS:
        raise SettingsError([f"is longer than {_MOST_CHARACTERS} characters"], source)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document({})
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError(["the file must hold a mapping (key: value) at its top"], source)
        if _written_out(node, {}) > _MOST_NODES:
            raise SettingsError([f"its aliases (*name) repeat more than {_MOST_NODES} values"], source)
        problems: list[str] = []
        _check_keys(node, (), problems, set())
        if problems:
            raise SettingsError(problems, source)
        data = loader.construct_document(node)
        lines: dict[Path, int] = {}
        _note_lines(node, (), lines)
    except RecursionError as error:
        raise SettingsError(["not valid YAML: nested too deeply"], source) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # Not the name of an anchor: it is whatever somebody wrote there.
        why = re.sub(r"(alias|anchor) '.*'", r"\1", error.problem or error.context or "", flags=re.DOTALL)
        raise SettingsError([f"{where}not valid YAML: {why}"], source) from error
    except (yaml.YAMLError, ValueError) as error:
        # Of a number that is none, the error quotes the text.
        why = str(error) if isinstance(error, yaml.YAMLError) else "a number cannot be read"
        raise SettingsError([f"not valid YAML: {why}"], source) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(data, lines)


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a document has once every alias is replaced by what it stands for; counted, not written out.

    Args:
        node: Where to begin.
        known: Counts of the nodes that were met before; 0 while a node is being counted, so that one which refers to
            itself comes to an end here. `_check_keys` reports it.
    """
    found = known.get(id(node))
    if found is None:
        known[id(node)] = 0
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [one for pair in node.value for one in pair]
        found = known[id(node)] = 1 + sum(_written_out(one, known) for one in below)
    return found


def _check_keys(node: yaml.Node, path: Path, problems: list[str], above: set[int]) -> None:
    """Collect duplicate and non-text keys, before construction silently lets the last one win."""
    if id(node) in above:
        problems.append(f"{shown_path(path)}: refers to itself (line {node.start_mark.line + 1})")
        return
    pattern = _SCALARS.get(node.tag)
    if node.tag not in _TAGS or (pattern and not (isinstance(node, yaml.ScalarNode) and pattern.match(node.value))):
        # Of its name nothing is said: it is whatever somebody wrote there.
        line = node.start_mark.line + 1
        problems.append(f"{shown_path(path)}: not valid YAML here: a tag (!…) that means nothing (line {line})")
        return
    above = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _check_keys(item, (*path, index), problems, above)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                _check_keys(value, path, problems, above)
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, yaml.ScalarNode) and path[:1] != ("auth",) else "…"
                problems.append(f"{shown_path((*path, str(shown)))}: keys must be text; quote it (line {line})")
                continue
            if key.value in first:
                where = shown_path((*path, key.value))
                problems.append(f"{where}: duplicate key (line {line}, first on line {first[key.value]})")
            first.setdefault(key.value, line)
            _check_keys(value, (*path, key.value), problems, above)


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _note_lines(item, (*path, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _note_lines(value, (*path, key.value), lines)
