"""Requests in another API's format (Messages, Responses) that are translated to chats, and the translation of answers.

Routing reads all of them as chats. An expert that speaks the client's API gets the client's own bytes. Any other expert
gets the chat, and its answer is translated back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.bindings import Binding, binding_of, thread_binding_of
from pointsman.gateway.wire.chat_stream import MOST_BYTES
from pointsman.gateway.wire.fields import missing
from pointsman.gateway.wire.messages.answer import MessagesAnswer
from pointsman.gateway.wire.messages.request import to_chat as chat_of_messages
from pointsman.gateway.wire.messages.request import without_unsigned
from pointsman.gateway.wire.model_field import body_naming
from pointsman.gateway.wire.responses.answer import ResponsesAnswer
from pointsman.gateway.wire.responses.request import to_chat as chat_of_responses
from pointsman.gateway.wire.turns import opens_thread

#: The texts of a turn -> as many others.
Rewrite = Callable[[Sequence[str]], Sequence[str]]


class AnswerTranslation(Protocol):
    """Puts one answer of an expert that speaks chat completions into the client's shape."""

    complete: bool
    """Whether a stream has come to its end."""

    def whole(self, body: bytes) -> bytes | None:
        """An answer in one piece; None where the expert's cannot be read."""

    def feed(self, data: bytes) -> bytes:
        """Whole events of the expert's stream -> events for the client.

        Raises:
            AnswerSizeError: There is more of it than is translated.
        """

    def end(self) -> bytes:
        """The expert's stream is over."""

    def broken(self, refusal: RequestRefused) -> bytes:
        """The event in place of a clean end."""


@dataclass(slots=True, eq=False)
class TranslatedRequest:
    """A request as its client wrote it, beside the chat that was made of it.

    Attributes:
        endpoint: What the client called.
        body: Its bytes.
        payload: The same, parsed.
        native_only: Where it says what no chat can; None where any chat expert can answer.
        binding: What of it only the expert that made it can read; None where nothing is.
        rewritten: The payload no longer equals the body.
        previous: The response that it names as the one before, whose turns have been put in.
        kept: Whether the gateway keeps the turn, where no expert does.
    """

    endpoint: Endpoint
    body: bytes
    payload: dict[str, Any]
    native_only: str | None = None
    binding: Binding | None = None
    rewritten: bool = False
    previous: str | None = None
    kept: bool = False

    @property
    def to_be_kept(self) -> bool:
        """Whether a later request is to go on from the answer by its id."""
        if self.endpoint is Endpoint.RESPONSES:
            return self.payload.get("store") is not False
        return self.endpoint is Endpoint.MESSAGES and opens_thread(self.payload)

    def spoken_by(self, spec: ExpertSpec) -> bool:
        """Whether an expert speaks the client's API; answers without a model are chats, whatever they answer."""
        return self.endpoint.capability in spec.capabilities and not spec.null

    def body_for(self, model: str) -> bytes:
        """The body for such an expert."""
        return body_naming(self.body, self.payload, model, rewritten=self.rewritten)

    def strip(self, field: str) -> None:
        """Take a field of ours out."""
        if field in self.payload:
            del self.payload[field]
            self.rewritten = True

    def rewrite_user_text(self, rewrite: Rewrite) -> None:
        """Rewrite what the user wrote, turn by turn."""
        name = "input" if self.endpoint is Endpoint.RESPONSES else "messages"
        turns = self.payload.get(name)
        if isinstance(turns, str):
            self.payload[name] = rewrite((turns,))[0]
            self.rewritten |= self.payload[name] != turns
            return
        for turn in turns or ():
            if turn.get("role") == "user":
                self.rewritten |= rewrite_content(turn, rewrite)

    def translation(
        self, answer_id: str, model: str, prompt_tokens: int, most_bytes: int = MOST_BYTES
    ) -> AnswerTranslation:
        """What puts an answer back into the client's shape.

        Args:
            answer_id: For the ids in it.
            model: Who answers.
            prompt_tokens: Estimated.
            most_bytes: How much of a stream is translated.
        """
        if self.endpoint is Endpoint.MESSAGES:
            return MessagesAnswer(
                message_id=answer_id,
                model=model,
                prompt_tokens=prompt_tokens,
                thoughts=_thinks(self.payload),
                stops=_stops(self.payload),
                most_bytes=most_bytes,
            )
        asked = {**self.payload, "previous_response_id": self.previous, "store": self.kept}
        return ResponsesAnswer(
            answer_id=answer_id,
            model=model,
            prompt_tokens=prompt_tokens,
            asked=asked,
            now_s=int(time.time()),
            most_bytes=most_bytes,
        )


_TO_CHAT: Final[Mapping[Endpoint, Callable[[Mapping[str, Any], list[str]], dict[str, Any]]]] = {
    Endpoint.MESSAGES: chat_of_messages,
    Endpoint.COUNT_TOKENS: chat_of_messages,
    Endpoint.RESPONSES: chat_of_responses,
}

#: Text of a user, as chats and Messages name it, and as Responses do.
_TEXT_PARTS: Final = ("text", "input_text")


def read_translated(
    endpoint: Endpoint, body: bytes, payload: dict[str, Any]
) -> tuple[TranslatedRequest, dict[str, Any]]:
    """The request as it is, and as a chat.

    Args:
        endpoint: What the client called.
        body: Its bytes.
        payload: The same, parsed, with `model` checked already.

    Raises:
        RequestRefused: A field is malformed.
    """
    if endpoint is Endpoint.MESSAGES and payload.get("max_tokens") is None:
        raise missing("max_tokens")
    lost: list[str] = []
    chat = _TO_CHAT[endpoint](payload, lost)
    changed = False
    if endpoint is Endpoint.RESPONSES:
        binding = binding_of(payload)
    else:
        opens_thread(payload)
        binding = thread_binding_of(payload)
        changed = without_unsigned(payload)
        if binding is not None:
            lost.insert(0, binding.param)
    return TranslatedRequest(endpoint, body, payload, lost[0] if lost else None, binding, rewritten=changed), chat


def rewrite_content(message: dict[str, Any], rewrite: Rewrite) -> bool:
    """Rewrite the text of a message, a string or parts; whether it changed."""
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = rewrite((content,))[0]
        return bool(message["content"] != content)
    parts = [one for one in content or () if one.get("type") in _TEXT_PARTS and isinstance(one.get("text"), str)]
    said = [part["text"] for part in parts]
    new = list(rewrite(said))
    for part, text in zip(parts, new, strict=True):
        part["text"] = text
    return new != said


def _thinks(payload: Mapping[str, Any]) -> bool:
    thinking = payload.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _stops(payload: Mapping[str, Any]) -> tuple[str, ...]:
    stops = payload.get("stop_sequences")
    return tuple(one for one in stops if isinstance(one, str)) if isinstance(stops, list) else ()
