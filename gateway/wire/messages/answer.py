"""A chat completion as a message of Anthropic's Messages API, whole or as its events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import orjson

from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.chat_answer import Tokens, refused_in, said_in, thought_in
from pointsman.gateway.wire.chat_calls import CallChunk, ChatCall
from pointsman.gateway.wire.chat_stream import MOST_BYTES, ChatStream
from pointsman.gateway.wire.lenient_json import mended
from pointsman.gateway.wire.messages.blocks import BlockEvent, BlockSequence
from pointsman.gateway.wire.messages.errors import error_document, error_event

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
#: Where servers say which of the client's own texts ended an answer: vLLM, and SGLang.
_STOPPED_AT: Final = ("stop_reason", "matched_stop")
_BLOCKS: Final = {"thought": "thinking", "text": "text", "refusal": "text"}


class MessagesAnswer(ChatStream):
    """Puts one answer of an expert that speaks chat completions into the client's shape.

    Args:
        message_id: Of the answer, without its prefix.
        model: Who answers.
        prompt_tokens: Estimated; said where a stream begins, and corrected where it ends.
        thoughts: Whether the client asked to see what the model thinks.
        stops: The texts at which the client wants an answer to stop.
        most_bytes: How much of a stream is translated.
    """

    def __init__(
        self,
        *,
        message_id: str,
        model: str,
        prompt_tokens: int,
        thoughts: bool,
        stops: Collection[str] = (),
        most_bytes: int = MOST_BYTES,
    ) -> None:
        super().__init__(f"toolu_{message_id}", prompt_tokens, most_bytes)
        self._id = f"msg_{message_id}"
        self._model = model
        self._thoughts = thoughts
        self._stops = stops
        self._stopped_at: str | None = None
        self._blocks = BlockSequence(self._settle)

    def whole(self, body: bytes) -> bytes | None:
        """The message; None where the body is no chat completion."""
        found = self._whole_message(body)
        if found is None:
            return None
        _, message = found
        content: list[dict[str, Any]] = []
        if self._thoughts and (thought := thought_in(message)):
            content.append({"type": "thinking", "thinking": mended(thought), "signature": ""})
        texts = [said for said in (said_in(message), refused_in(message)) if said]
        last: ChatCall | None = None
        calls: list[dict[str, Any]] = []
        for piece in self._whole_calls(message):
            last = piece.call
            arguments = last.arguments.feed(piece.text)
            arguments += last.arguments.close(cut=self.reason == "length")
            # Not read again: numbers keep all of their digits.
            shown = {"id": last.id, "name": last.name, "input": orjson.Fragment(arguments or "{}")}
            calls.append({"type": "tool_use", **shown})
        # A text of blanks is taken back by no API.
        content += [{"type": "text", "text": mended(said)} for said in texts if not (calls and said.isspace())]
        return orjson.dumps({**self._frame(self._usage()), "content": content + calls, **self._stop(last)})

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

    def _begin(self, out: list[bytes]) -> None:
        usage = _usage(self._prompt_tokens, 0, Tokens())
        out.append(_event("message_start", {"message": self._frame(usage)}))

    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        if kind != "thought" or self._thoughts:
            _write(self._blocks.say(_BLOCKS[kind], text), out)

    def _call(self, piece: CallChunk, out: list[bytes]) -> None:
        _write(self._blocks.call(piece.call, piece.text), out)

    def _quiet(self, out: list[bytes]) -> None:
        out.append(_event("ping", {}))

    def _failed(self, message: str, out: list[bytes]) -> None:
        out.append(_event("error", {"error": error_document(500, message)["error"]}))

    def _note(self, document: Mapping[str, Any], choice: Mapping[str, Any] | None, part: Mapping[str, Any]) -> None:
        super()._note(document, choice, part)
        self._look_for_stop(choice)

    def _look_for_stop(self, choice: Mapping[str, Any] | None) -> None:
        for name in _STOPPED_AT:
            said = None if choice is None else choice.get(name)
            if isinstance(said, str) and said in self._stops:
                self._stopped_at = said

    def _finish(self, out: list[bytes]) -> None:
        _write(self._blocks.finish(cut=self.reason == "length"), out)
        stop = self._stop(self._blocks.last_call)
        out.append(_event("message_delta", {"delta": stop, "usage": self._usage()}))
        out.append(_event("message_stop", {}))

    def _stop(self, last: ChatCall | None) -> dict[str, Any]:
        why = self._why(last)
        if why == "stop" and self._stopped_at is not None:
            return {"stop_reason": "stop_sequence", "stop_sequence": self._stopped_at}
        return {"stop_reason": _STOP_REASONS[why], "stop_sequence": None}

    def _usage(self) -> dict[str, Any]:
        return _usage(*self._account)


def _write(events: Iterable[BlockEvent], out: list[bytes]) -> None:
    out += [_event(kind, fields) for kind, fields in events]


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def _usage(prompt: int, completion: int, tokens: Tokens) -> dict[str, Any]:
    """Anthropic counts what came from the cache apart. What the expert does not say of the cache is null, never 0."""
    return {
        "input_tokens": max(0, prompt - (tokens.cached or 0)),
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": completion,
    }
