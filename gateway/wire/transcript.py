"""The text of an answer as it was relayed, whole or streamed, if it is plain and complete."""

from __future__ import annotations

from typing import Any, Final

import orjson

#: No plain text is longer, as JSON.
MOST_BYTES: Final = 1024 * 1024
#: What a plain choice may say besides its text, when it says nothing there.
_TEXT_FIELDS: Final = frozenset({"role", "content"})


def text_of_whole(body: bytes) -> str | None:
    """The text of an answer in one piece; None unless it is one plain choice that ended by itself.

    Args:
        body: The JSON document.
    """
    document = _object(body) if len(body) <= MOST_BYTES else None
    choice = None if document is None else _only_choice(document)
    if choice is None or choice.get("finish_reason") != "stop":
        return None
    return _said(choice, "message")


class Transcript:
    """Collects the text of a streamed answer.

    Args:
        most_bytes: Longer streams are not collected.
    """

    __slots__ = ("_events", "_left")

    def __init__(self, most_bytes: int) -> None:
        self._events: list[bytes] = []
        self._left = most_bytes

    def feed(self, data: bytes) -> None:
        """Whole events, as they pass."""
        self._left -= len(data)
        if self._left >= 0:
            self._events.append(data)
        else:
            self._events.clear()

    def text(self) -> str | None:
        """The text of a stream that has ended with `[DONE]`; None unless it is one plain choice that ended itself."""
        if self._left < 0:
            return None
        pieces: list[str] = []
        stopped = done = False
        for line in b"".join(self._events).splitlines():
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                done = True
                continue
            document = _object(data)
            if document is None or "error" in document:
                return None
            if not document.get("choices"):
                continue
            choice = _only_choice(document)
            said = None if choice is None else _said(choice, "delta")
            if choice is None or said is None or choice.get("finish_reason") not in (None, "stop"):
                return None
            stopped |= choice.get("finish_reason") == "stop"
            pieces.append(said)
        return "".join(pieces) if stopped and done else None


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _only_choice(document: dict[str, Any]) -> dict[str, Any] | None:
    choices = document.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    choice: dict[str, Any] = choices[0]
    return choice if choice.get("index", 0) == 0 and not choice.get("logprobs") else None


def _said(choice: dict[str, Any], where: str) -> str | None:
    """The text of a choice, None where it says more than text: tool calls, a refusal, reasoning, audio."""
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    message = choice.get(where)
    if not isinstance(message, dict) or any(message[name] for name in message.keys() - _TEXT_FIELDS):
        return None
    content = message.get("content")
    if content is None and where == "delta":
        return ""
    return content if isinstance(content, str) else None
