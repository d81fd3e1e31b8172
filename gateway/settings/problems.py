"""From pydantic's errors to sentences that name the path, the line and, for a misspelt key, the right one."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pointsman.experts.backend_spec import OptionProblems
from pointsman.experts.env_references import looks_secret
from pointsman.gateway.settings.yaml_source import Document, Path, shown_path

#: Settings whose values no error repeats. Under `auth` a key may stand where its hash or its reference belongs.
_PRIVATE: Final = frozenset(
    {"auth", "headers", "extra_headers", "base_url", "api_base", "url", "api_key", "api_key_env", "api_key_file"}
)
_ADDRESS: Final = re.compile(r"://|@|^Bearer ", re.IGNORECASE)
_KEY_LIKE: Final = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[^\s/]{16,}")
#: A key of a mapping that may be shown whatever stands above it.
_PLAIN_STEP: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class TreeProblems(OptionProblems):
    """Several things are wrong below one node; a validator raises it with paths relative to the node."""


def describe(error: ValidationError, root: type[BaseModel], document: Document) -> list[tuple[Path, str]]:
    """Every problem as (path, sentence), in the file's order."""
    return sorted(describe_items(error, root), key=lambda problem: document.line(problem[0]) or 0)


def describe_items(error: ValidationError, root: type[BaseModel]) -> list[tuple[Path, str]]:
    """Every problem as (path, sentence), in pydantic's order."""
    found: list[tuple[Path, str]] = []
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, OptionProblems):
            found.extend((path + below, text) for below, text in cause.problems)
        else:
            found.append((path, _sentence(item["type"], item["msg"], path, item["input"], root)))
    return found


def located(path: Path, sentence: str, document: Document) -> str:
    """`pool.experts[2].base_ulr: unknown key (line 14)`."""
    line = document.line(path)
    place = f" (line {line})" if line is not None else ""
    if path and path[0] == "auth":
        path = tuple("…" if isinstance(step, str) and not _PLAIN_STEP.fullmatch(step) else step for step in path)
    return f"{shown_path(path)}: {sentence}{place}" if path else f"{sentence}{place}"


def _sentence(kind: str, message: str, path: Path, value: Any, root: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        known = sorted(_keys_at(root, path[:-1]))
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        if close:
            return f"unknown key (did you mean {close[0]}?)"
        return f"unknown key; known are {', '.join(known)}" if known else "unknown key"
    if kind == "missing":
        return "is missing"
    if kind == "json_invalid":
        return "holds what is no text (half of a surrogate pair), or is nested too deeply"
    text = message.removeprefix("Value error, ")
    if kind == "value_error":
        return text
    text = text.removeprefix("Input ").replace("Field required", "is missing")
    return text if _is_private(path, value) else f"{text}, got {shown(value)}"


def _is_private(path: Path, value: Any) -> bool:
    """Whether a value may be a secret, or hold one, whatever it was meant to be."""
    if any(isinstance(step, str) and (step in _PRIVATE or looks_secret(step)) for step in path):
        return True
    return isinstance(value, str) and (_ADDRESS.search(value) is not None or _KEY_LIKE.fullmatch(value) is not None)


def shown(value: Any) -> str:
    """A value for an error, short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(root: type[BaseModel], path: Path) -> Iterator[str]:
    """Names of the fields of the model that stands at a path."""
    candidates: list[Any] = [root]
    for step in path:
        following: list[Any] = []
        for annotation in candidates:
            following.extend(_below(annotation, step))
        candidates = following
    for annotation in candidates:
        for model in _unwrapped(annotation):
            if isinstance(model, type) and issubclass(model, BaseModel):
                yield from model.model_fields


def _below(annotation: Any, step: str | int) -> Iterator[Any]:
    for part in _unwrapped(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            field = part.model_fields.get(str(step))
            if field is not None:
                yield field.annotation
        elif get_origin(part) in {tuple, list} and isinstance(step, int):
            yield get_args(part)[0]
        elif get_origin(part) is dict:
            yield get_args(part)[1]


def _unwrapped(annotation: Any) -> Iterator[Any]:
    """The parts of `X | None`."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _unwrapped(part)
    else:
        yield annotation
