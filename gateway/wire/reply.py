"""An expert's bytes on their way to the client: event boundaries, `model`, usage, and whether the end was clean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.experts.spec import Usage
from pointsman.gateway.wire.asked_usage import USAGE_FIELD, without_usage_events
from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.lenient_json import read_json
from pointsman.gateway.wire.model_field import MODEL_FIELD
from pointsman.gateway.wire.server_events import BOUNDARY, events_in
from pointsman.gateway.wire.top_level import span_at, values_at_top
from pointsman.gateway.wire.usage import usage_of

_DONE: Final = re.compile(rb"(?:^|[\r\n])data:[ \t]*\[DONE\]")
#: What ends an event: two line breaks, each of one kind or the other.
_BOUNDARIES: Final = (b"\n\n", b"\n\r\n", b"\r\r")
#: An event larger than this passes in pieces: memory is bounded whatever an expert sends.
_MAX_HELD_BYTES: Final = 8 * 1024 * 1024
#: No account, and no name, is longer.
_MOST_SPAN_BYTES: Final = 64 * 1024
_WITHIN: Final = (b"response", b"message")


def usage_in(body: bytes, before: Usage | None = None) -> Usage | None:
    """Usage in one JSON document; None where it has none (or it is no JSON), `ABSURD` where its counts are none.

    Responses and Messages say it in an event one level down.

    Args:
        body: The document.
        before: What an earlier event of the same stream said: Messages say the input where a stream begins, the output
            where it ends.
    """
    document = _document(body)
    return None if document is None else _usage_of(document, before)


def _usage_of(document: Mapping[str, Any], before: Usage | None) -> Usage | None:
    usage = document.get("usage")
    if usage is None:
        inner = document.get("response", document.get("message"))
        usage = inner.get("usage") if isinstance(inner, dict) else None
    return usage_of(usage, before) if isinstance(usage, dict) else None


def _document(body: bytes) -> dict[str, Any] | None:
    """A JSON object, None where it is none; of a large one only what says its usage."""
    if len(body) > LARGE_BYTES:
        document = _usage_of_large(body, 0)
        for name, begin in ({} if document else values_at_top(body, _WITHIN)).items():
            document[name.decode()] = _usage_of_large(body, begin)
        return document
    found = _read(body)
    return found if isinstance(found, dict) else None


def _read(said: bytes) -> Any:
    try:
        return read_json(said)
    except ValueError:
        return None


def _usage_of_large(body: bytes, begin: int) -> dict[str, Any]:
    value = values_at_top(body, (b"usage",), begin).get(b"usage")
    said = None if value is None else span_at(body, value, _MOST_SPAN_BYTES)
    try:
        return {} if said is None else {"usage": orjson.loads(said)}
    except orjson.JSONDecodeError:
        return {}


def _ends(document: Mapping[str, Any]) -> bool:
    """Whether an event that holds usage is one of those that end an answer, so that it counts all of it."""
    choices = document.get("choices")
    if isinstance(choices, list):
        return not choices or any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
    inner = document.get("response")
    if isinstance(inner, dict):
        return inner.get("status") not in ("queued", "in_progress")
    return document.get("type") != "message_start"


def with_model(body: bytes, name: str) -> bytes:
    """The JSON document, or the event that holds one, with its own `model` naming the expert that answered.

    What is nested in it, arguments of a call or what a client wrote, keeps its words. In nearly every server's order of
    fields `model` comes before anything nested, and the first `"model":"…"` is the one; texts cannot match, since
    quotes inside them are escaped.
    """
    field = MODEL_FIELD.search(body)
    if field is None:
        return body
    begin = body.find(b"{")
    if body.count(b"{", 0, field.start()) == 1 and not body.count(b"[", begin, field.start()):
        quoted = orjson.dumps(name)
        return body if field.group(1) == quoted else body[: field.start(1)] + quoted + body[field.end(1) :]
    if len(body) <= LARGE_BYTES and MODEL_FIELD.search(body, field.end()) is None:
        # Some write their fields in the order of the alphabet: where the only one is, a parser tells sooner.
        document = _read(body[begin:])
        if isinstance(document, dict) and isinstance(document.get("model"), str):
            return body[: field.start(1)] + orjson.dumps(name) + body[field.end(1) :]
    return with_model_anywhere(body, name, begin)


def with_model_anywhere(body: bytes, name: str, begin: int = 0) -> bytes:
    """As `with_model`, wherever the field stands: in the outermost object, or in what an event is about.

    Args:
        body: The document or event.
        name: The expert's.
        begin: Where the document begins.
    """
    if b'"model"' not in body:
        return body
    found = values_at_top(body, (b"model", *_WITHIN), begin)
    within = (values_at_top(body, (b"model",), found[one]).get(b"model") for one in _WITHIN if one in found)
    for value in sorted((one for one in (found.get(b"model"), *within) if one is not None), reverse=True):
        said = span_at(body, value, _MOST_SPAN_BYTES)
        if said is not None and said.startswith(b'"'):
            body = b"%b%b%b" % (body[:value], orjson.dumps(name), body[value + len(said) :])
    return body


def with_model_of_whole(body: bytes, name: str, *, ordinary: bool) -> bytes:
    """A whole answer with its `model` naming the expert that answered.

    Args:
        body: JSON.
        name: The expert's.
        ordinary: Whether the first `model` in it is the answer's own. A large answer is not searched for it by pattern.
    """
    return (with_model if ordinary and len(body) <= LARGE_BYTES else with_model_anywhere)(body, name)


class EventStream:
    """Server-sent events in flight: passes complete events, holds back an incomplete tail.

    Holding the tail back is what lets a broken stream end with a well-formed error event. Bytes are never changed,
    except `model` where the expert's own id differs from the name it goes by here.

    Args:
        name: Of the expert.
        hides_usage: Whether events that hold usage and nothing else are kept from the client, who did not ask for them.

    Attributes:
        done: Whether `[DONE]` was there.
        usage: The latest that was said.
    """

    __slots__ = ("_ended", "_held", "_hides_usage", "_name", "_name_bytes", "_ours", "_theirs", "done", "usage")

    def __init__(self, name: str, *, hides_usage: bool = False) -> None:
        self._held = bytearray()
        self._hides_usage = hides_usage
        self._ended = False
        self._name_bytes = b'"model":' + orjson.dumps(name)
        self._name = name
        self._theirs = self._ours = b""
        self.done = False
        self.usage: Usage | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Bytes to pass on now; may be empty."""
        held = self._held
        if not held and chunk.endswith((b"\n\n", b"\r\n\r\n")):
            return self._inspect(chunk)
        # Only what is new can hold a boundary, so that a long event in many pieces is not searched over and over.
        begin = max(len(held) - 3, 0)
        held += chunk
        cut = 0
        for boundary in _BOUNDARIES:
            at = held.rfind(boundary, begin)
            cut = max(cut, at + len(boundary) if at >= 0 else 0)
        if not cut and len(held) <= _MAX_HELD_BYTES:
            return b""
        data = bytes(held[:cut]) if cut else bytes(held)
        del held[: len(data)]
        return self._inspect(data) if cut else data

    def finish(self) -> bytes:
        """What is left at a clean end: some servers leave out the last blank line."""
        data = bytes(self._held)
        self._held.clear()
        return self._inspect(data) if data else b""

    def _inspect(self, data: bytes) -> bytes:
        if b"[DONE]" in data and _DONE.search(data):
            self.done = True
        named = data.count(b'"model"')
        if named and data.count(self._name_bytes) != named:
            data = self._renamed(data, named)
        if b'"usage"' in data and USAGE_FIELD.search(data):
            self._find_usage(data)
            if self._hides_usage:
                return without_usage_events(data)
        return data

    @property
    def usage_complete(self) -> bool:
        """Whether `usage` is of the whole answer, not of its beginning."""
        return self._ended or self.done

    def _renamed(self, data: bytes, named: int) -> bytes:
        """Every event with its `model` naming the expert."""
        # All fields alike: the usual stream. The first of each event is the one that names the model.
        if self._theirs and named == data.count(self._theirs) and b"\r" not in data:
            return b"\n\n".join([self._renamed_event(event) for event in data.split(b"\n\n")])
        if (field := MODEL_FIELD.search(data)) is not None:
            self._theirs = field.group()
            self._ours = data[field.start() : field.start(1)] + orjson.dumps(self._name)
        return b"".join(with_model(piece, self._name) if b"{" in piece else piece for piece in BOUNDARY.split(data))

    def _renamed_event(self, event: bytes) -> bytes:
        at = event.find(self._theirs)
        # Before anything nested, it is the event's own.
        if at < 0 or event.count(b"{", 0, at) != 1 or event.count(b"[", 0, at):
            return with_model(event, self._name)
        return event[:at] + self._ours + event[at + len(self._theirs) :]

    def _find_usage(self, data: bytes) -> None:
        for _, said in events_in(data):
            if USAGE_FIELD.search(said):
                document = _read(said)
                if isinstance(document, dict) and (found := _usage_of(document, self.usage)) is not None:
                    self.usage, self._ended = found, _ends(document)
