"""Whether a stream begins with an answer: what its first events say, before any of it goes to the client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import orjson

from pointsman.gateway.wire.expert_errors import SAYS_ABORT, StatedError, error_in, stated_error

#: The usual beginning: an event with an object.
_BEGINS: Final = re.compile(rb"(?:\A|[\r\n])data:[ \t]?\{")
_ENDS: Final = re.compile(rb"\n\r?\n|\r\r")
_LINE: Final = re.compile(rb"\r\n|\n|\r")
#: An error in the middle of a stream. Quotes inside texts are escaped, so no text can say it.
_SAYS_ERROR: Final = re.compile(rb'"error"[ \t]{0,20}:[ \t]{0,20}[{"]|event:[ \t]?error|"response.failed"')
#: What comes before anything is said.
_PRELUDES: Final = frozenset(
    {"message_start", "response.created", "response.queued", "response.in_progress", "thread.created"}
)


class StreamPhase(Enum):
    """What a stream has said so far."""

    NOTHING = "nothing"
    """Comments and pings, or less than a whole event."""
    ENDED = "ended"
    """That it is over."""
    ANSWER = "answer"


def beginning(data: bytes) -> StreamPhase | StatedError:
    """What the beginning of a stream says: nothing yet, an answer, or an error.

    Args:
        data: All that came so far.
    """
    if b"error" not in data and b"ping" not in data and b'"abort"' not in data:
        # The usual stream, without a further look.
        begins = _BEGINS.search(data)
        if begins is not None and _ENDS.search(data, begins.end()) is not None:
            return StreamPhase.ANSWER
    said = StreamPhase.NOTHING
    for name, text in _events(data):
        if text == b"[DONE]":
            return said if said is StreamPhase.ANSWER else StreamPhase.ENDED
        document = _object(text)
        if document is None:
            if name == b"error":
                return _failure(text)
            return StreamPhase.ANSWER
        if document.get("type") == "ping" or name == b"ping":
            continue
        if (failed := _error_of(name, document)) is not None:
            return failed
        said = StreamPhase.ANSWER
        if not _prelude(document):
            break
    return said


def error_within(data: bytes) -> StatedError | None:
    """The error that whole events in the middle of a stream say; None where they say none."""
    if _SAYS_ERROR.search(data) is None and SAYS_ABORT.search(data) is None:
        return None
    for name, text in _events(data):
        document = _object(text)
        if document is None:
            if name == b"error":
                return _failure(text)
        elif (failed := _error_of(name, document)) is not None:
            return failed
    return None


def _events(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of every whole event that has data."""
    begin = 0
    for end in _ENDS.finditer(data):
        name, lines = b"", []
        for line in _LINE.split(data[begin : end.start()]):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value
        begin = end.end()
        if lines:
            yield name, b"\n".join(lines).strip()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _error_of(name: bytes, document: dict[str, Any]) -> StatedError | None:
    failed = error_in(document)
    if failed is None and name == b"error":
        failed = error_in({"error": document})
    return failed


def _failure(text: bytes) -> StatedError:
    stated = stated_error(text)
    return StatedError(stated.message, status=502)


def _prelude(document: dict[str, Any]) -> bool:
    """Whether an event opens an answer and says nothing of it yet."""
    kind = document.get("type")
    if isinstance(kind, str) and kind in _PRELUDES:
        return True
    choices = document.get("choices")
    if not isinstance(choices, list):
        return False
    for choice in choices:
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if (
            not isinstance(delta, dict)
            or choice.get("finish_reason")
            or any(delta[name] for name in delta if name != "role")
        ):
            return False
    return True
