"""Ids of what lies with a provider: named in a request, and made by an answer.

The gateway calls a provider with one key for all of its tenants, so the provider gives anything to whoever names it.
Whose an id is only the gateway can tell, by the answer that brought it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.stateful_fields import ID_FIELDS

#: Fields that hold an id, or an object with one.
_HOLDERS: Final = frozenset({"conversation", "container", "thread", "audio"})
#: Words of clients, their tools and models: what looks like an id in them reaches no provider as one.
_FREE_IN_REQUESTS: Final = frozenset(
    {"metadata", "parameters", "input_schema", "schema", "json_schema", "arguments", "action", "logit_bias"}
)
_FREE_IN_ANSWERS: Final = _FREE_IN_REQUESTS | {"input", "tools", "results", "logprobs", "text", "prompt"}
#: Blocks of Messages in which a model calls a tool: `input` is what it says to the tool.
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
#: Items of Responses that hold all they say in one of these fields, so that their id is a name and no reference.
_WHOLE_ITEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("content",),
    "reasoning": ("content", "summary"),
    "function_call": ("arguments",),
    "function_call_output": ("output",),
    "custom_tool_call": ("input",),
    "custom_tool_call_output": ("output",),
}
#: Where none of these stands, no field names anything; but a letter of it may be escaped.
_HINTS: Final = (
    *(b"file_id", b"vector_store_id", b'"container', b'"thread', b'"conversation', b'"audio"', b'"previous_'),
    *(b'response_id"', b"approval_request_id", b"cached_content"),
)
_ESCAPED: Final = re.compile(rb"\\u00[4-7]")
_MADE_HINTS: Final = (b'"id"', b'file_id"', b'container_id"')
#: Answers speak of themselves in one of these, or at their top.
_PARTS: Final = ("response", "message", "item", "content_block", "delta", "annotation", "part")
_LISTS: Final = ("output", "content", "choices")
_LONGEST: Final = 256
#: Of one answer, so many ids are remembered.
MOST_IDS: Final = 256
#: Ids that one request may name: each may have to be looked up elsewhere.
_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class NamedId:
    """An id that a request names.

    Attributes:
        param: Where it stands.
        value: The id.
        rename: Where what it names stands beside it in full, so that the id may be another one: puts another one in
            its place. None where the id stands for something that the provider has.
    """

    param: str
    value: str
    rename: Callable[[str], None] | None = None


def named_ids(endpoint: Endpoint, body: bytes, payload: Mapping[str, Any]) -> tuple[NamedId, ...]:
    """The ids that a request names.

    Args:
        endpoint: What the client called.
        body: Its bytes.
        payload: The same, parsed.

    Raises:
        RequestRefused: They are more than can be looked up.
    """
    if not endpoint.writes and endpoint is not Endpoint.COUNT_TOKENS:
        return ()
    found: list[NamedId] = []
    if endpoint is Endpoint.RESPONSES:
        found += _items(payload)
    if any(hint in body for hint in _HINTS) or (b"\\u00" in body and _ESCAPED.search(body) is not None):
        found += _fields(payload, "")
    if len(found) > _MOST:
        raise RequestRefused(
            Code.INVALID_VALUE, f"{found[_MOST].param}: names more than {_MOST} ids.", param=found[_MOST].param
        )
    return tuple(found)


def _items(payload: Mapping[str, Any]) -> Iterator[NamedId]:
    """The ids of Responses' input items."""
    items = payload.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if not isinstance(item, dict) or item.get("id") in (None, ""):
            continue
        kind = item.get("type", "message" if "role" in item else "item_reference")
        said = isinstance(kind, str) and any(item.get(name) not in (None, []) for name in _WHOLE_ITEMS.get(kind, ()))
        whole = said or bool(item.get("encrypted_content"))
        yield NamedId(f"input[{index}].id", _text(item["id"]), _renaming(item) if whole else None)


def _renaming(item: dict[str, Any]) -> Callable[[str], None]:
    def rename(other: str) -> None:
        item["id"] = other

    return rename


def _fields(value: object, where: str) -> Iterator[NamedId]:
    """The ids in fields that are there for ids, wherever they stand."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _fields(one, f"{where}[{index}]")
        return
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    calls = isinstance(kind, str) and kind in _CALLS
    for name, inner in value.items():
        if name in _FREE_IN_REQUESTS or (calls and name == "input"):
            continue
        at = f"{where}.{name}" if where else name
        if name in ID_FIELDS:
            for one in inner if isinstance(inner, list) else (inner,):
                if isinstance(one, dict):
                    yield from _fields(one, at)
                elif one not in (None, ""):
                    yield NamedId(at, _text(one))
        elif name in _HOLDERS and not isinstance(inner, list):
            yield from _held(inner, at)
        else:
            yield from _fields(inner, at)


def _held(value: object, where: str) -> Iterator[NamedId]:
    """An id, or an object that may have one."""
    if isinstance(value, dict):
        if value.get("id") not in (None, ""):
            yield NamedId(f"{where}.id", _text(value["id"]))
        yield from _fields(value, where)
    elif isinstance(value, str) and value:
        yield NamedId(where, value)


def _text(value: object) -> str:
    """An id as it is looked up; whatever is no text is nobody's."""
    return value if isinstance(value, str) else ""


def made_in(data: bytes, most: int = MOST_IDS) -> set[str]:
    """The ids in an answer, or in events of one: those that the provider gives, in the places where it does.

    What the answer repeats of the request, and what a model says to tools, are no such places: there anybody could
    write an id that is another's.

    Args:
        data: JSON, or events.
        most: How many are read; an answer has a few.
    """
    made: set[str] = set()
    if not any(hint in data for hint in _MADE_HINTS):
        return made
    for document in _documents(data):
        for one in _made(document):
            if len(made) >= most:
                return made
            if one.isascii() and 0 < len(one) <= _LONGEST:
                made.add(one)
    return made


def _documents(data: bytes) -> Iterator[dict[str, Any]]:
    texts = [data]
    if not data.lstrip().startswith(b"{"):
        texts = [line[5:] for line in data.splitlines() if line.startswith(b"data:")]
    for text in texts:
        if any(hint in text for hint in _MADE_HINTS):
            try:
                document = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
            if isinstance(document, dict):
                yield document


def _made(document: Mapping[str, Any]) -> Iterator[str]:
    for holder in (document, *(document.get(name) for name in _PARTS)):
        if isinstance(holder, dict):
            yield from _own(holder)
            for name in _LISTS:
                if isinstance(holder.get(name), list):
                    yield from _nested(holder[name])


def _own(holder: Mapping[str, Any]) -> Iterator[str]:
    """What an object says of itself: its id, and where its files are."""
    for name in ("id", "container_id", "file_id"):
        if isinstance(holder.get(name), str):
            yield holder[name]
    for name in ("container", "audio"):
        inner = holder.get(name)
        if isinstance(inner, dict) and isinstance(inner.get("id"), str):
            yield inner["id"]


def _nested(value: object) -> Iterator[str]:
    # Not by recursion: how deep it goes is the expert's to say.
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            yield from _own(value)
            left += [inner for name, inner in value.items() if name not in _FREE_IN_ANSWERS]
