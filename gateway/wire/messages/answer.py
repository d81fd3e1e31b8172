"""A chat completion as a message of Anthropic's Messages API, whole or as its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.chat_answer import (
    Tokens,
    calls_in,
    first_choice,
    index_of,
    object_in,
    part_of,
    reason_in,
    said_in,
    thought_in,
    tokens_of,
)
from pointsman.gateway.wire.chat_stream import MOST_BYTES, ChatStream
from pointsman.gateway.wire.messages.errors import error_document, error_event

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class MessagesAnswer(ChatStream):
    """Puts one answer of an expert that speaks chat completions into the client's shape.

    Args:
        message_id: Of the answer, without its prefix.
        model: Who answers.
        prompt_tokens: Estimated; said where a stream begins, and corrected where it ends.
        thoughts: Whether the client asked to see what the model thinks.
        most_bytes: How much of a stream is translated.
    """

    def __init__(
        self, *, message_id: str, model: str, prompt_tokens: int, thoughts: bool, most_bytes: int = MOST_BYTES
    ) -> None:
        super().__init__(most_bytes)
        self._id = f"msg_{message_id}"
        self._model = model
        self._prompt_tokens = prompt_tokens
        self._thoughts = thoughts
        self._begun = False
        self._index = -1
        self._open: str | int | None = None  # "text", "thinking", or the index of a call
        self._stop: dict[str, Any] | None = None
        self._tokens: Tokens | None = None

    def whole(self, body: bytes) -> bytes | None:
        """The message; None where the body is no chat completion."""
        document = object_in(body)
        choice = None if document is None else first_choice(document)
        if document is None or choice is None:
            return None
        message = part_of(choice, "message")
        content: list[dict[str, Any]] = []
        if self._thoughts and (thought := thought_in(message)):
            content.append({"type": "thinking", "thinking": thought, "signature": ""})
        if said := said_in(message) or said_in(message, "refusal"):
            content.append({"type": "text", "text": said})
        for call in calls_in(message):
            function = call["function"]
            arguments = object_in(said_in(function, "arguments").encode("utf-8", "replace") or b"{}")
            if arguments is None:
                return None
            named = {"id": said_in(call, "id"), "name": said_in(function, "name")}
            content.append({"type": "tool_use", **named, "input": arguments})
        frame = self._frame(_usage(tokens_of(document)))
        try:
            return orjson.dumps({**frame, "content": content, **_stop(choice)})
        except orjson.JSONEncodeError:  # arguments nested more deeply than can be written
            return None

    @staticmethod
    def broken(refusal: RequestRefused) -> bytes:
        """The event in place of a clean end."""
        return error_event(refusal)

    def _frame(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _failed(self, message: str, out: list[bytes]) -> None:
        out.append(_event("error", {"error": error_document(500, message)["error"]}))

    def _chunk(
        self, document: Mapping[str, Any], choice: Mapping[str, Any] | None, delta: Mapping[str, Any], out: list[bytes]
    ) -> None:
        if not self._begun:
            self._begun = True
            usage = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
            out.append(_event("message_start", {"message": self._frame(usage)}))
        self._tokens = tokens_of(document) or self._tokens
        if self._thoughts and (thought := thought_in(delta)):
            self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._delta({"type": "thinking_delta", "thinking": thought}, out)
        if said := said_in(delta) or said_in(delta, "refusal"):
            self._block("text", {"type": "text", "text": ""}, out)
            self._delta({"type": "text_delta", "text": said}, out)
        for call in calls_in(delta):
            function, index = call["function"], index_of(call)
            named = {"id": said_in(call, "id"), "name": said_in(function, "name")}
            start = {"type": "tool_use", **named, "input": {}}
            self._block(index, start, out)
            if arguments := said_in(function, "arguments"):
                self._delta({"type": "input_json_delta", "partial_json": arguments}, out)
        if choice is not None and reason_in(choice) is not None:
            self._stop = _stop(choice)

    def _block(self, key: str | int, start: dict[str, Any], out: list[bytes]) -> None:
        """Begin a block unless it is the one that is open."""
        if self._open == key:
            return
        self._close(out)
        self._open = key
        self._index += 1
        out.append(_event("content_block_start", {"index": self._index, "content_block": start}))

    def _delta(self, delta: dict[str, Any], out: list[bytes]) -> None:
        out.append(_event("content_block_delta", {"index": self._index, "delta": delta}))

    def _close(self, out: list[bytes]) -> None:
        if self._open is not None:
            self._open = None
            out.append(_event("content_block_stop", {"index": self._index}))

    def _end(self, out: list[bytes]) -> None:
        if self.complete or self._stop is None:
            return
        self.complete = True
        self._close(out)
        out.append(_event("message_delta", {"delta": self._stop, "usage": _usage(self._tokens)}))
        out.append(_event("message_stop", {}))


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def _stop(choice: Mapping[str, Any]) -> dict[str, Any]:
    reason, sequence = reason_in(choice), choice.get("stop_reason")
    if reason == "stop" and isinstance(sequence, str):
        # vLLM says which of the client's own strings ended the answer.
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    return {"stop_reason": _STOP_REASONS.get(str(reason), "end_turn"), "stop_sequence": None}


def _usage(tokens: Tokens | None) -> dict[str, Any]:
    """Anthropic counts what came from the cache apart. What the expert does not say is null, never 0."""
    if tokens is None:
        return {"input_tokens": None, "output_tokens": None}
    usage: dict[str, Any] = {"input_tokens": tokens.prompt - (tokens.cached or 0), "output_tokens": tokens.completion}
    if tokens.cached is not None:
        usage["cache_read_input_tokens"] = tokens.cached
    return usage
