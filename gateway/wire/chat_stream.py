"""A chat completion during translation, whole or streamed: the part that is the same for every API."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pointsman.gateway.wire.chat_answer import (
    Tokens,
    calls_in,
    error_message,
    first_choice,
    object_in,
    part_of,
    reason_in,
    refused_in,
    said_in,
    text_of,
    thought_in,
    tokens_of,
)
from pointsman.gateway.wire.chat_calls import NAMELESS, CallChunk, CallReader, ChatCall, arguments_of, unlike_others
from pointsman.gateway.wire.json_values import count_in
from pointsman.gateway.wire.lenient_json import joined, mended
from pointsman.gateway.wire.server_events import events_in
from pointsman.gateway.wire.token_estimate import BYTES_PER_TOKEN

#: What a translation may keep where nothing says how much.
MOST_BYTES: Final = 4 * 1024 * 1024
_SAYS: Final = ("thought", "text", "refusal")


class AnswerSizeError(Exception):
    """An answer is longer than is translated.

    Args:
        most_bytes: As long as it may be.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the answer is longer than the {most_bytes} bytes that are translated")


class ChatStream(ABC):
    """Reads an expert's answer, or its events one by one; a subclass writes the client's.

    Args:
        call_prefix: Of the ids of calls to which the expert gives none; unlike those of other answers.
        prompt_tokens: Estimated; they stand where the expert does not count.
        most_bytes: Of text, of arguments, of what cannot be read, and one for every event.

    Attributes:
        complete: Whether the stream has come to its end, be it an error.
        reason: Why it ends, in OpenAI's words; None as long as it does not say.
    """

    complete = False

    def __init__(self, call_prefix: str, prompt_tokens: int, most_bytes: int = MOST_BYTES) -> None:
        self.reason: str | None = None
        self._most_bytes = self._left_bytes = most_bytes
        self._prompt_tokens = prompt_tokens
        self._tokens = Tokens()
        self._said_bytes = 0
        self._halves = dict.fromkeys(_SAYS, "")
        self._reader = CallReader()
        self._call_prefix = call_prefix
        self._call_ids: set[str] = set()
        self._begun = False
        self._created_s: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Whole events of the expert's stream -> events of ours. What cannot be read is left out.

        Raises:
            AnswerSizeError: There is more of it than is translated.
        """
        out: list[bytes] = []
        for name, text in events_in(data):
            self._count(1)
            for document in self._documents(text):
                if document is None:
                    self._end(out)
                elif self.complete:
                    self._count(len(text))
                elif (failure := error_message({"error": document} if name == b"error" else document)) is not None:
                    self.complete = True
                    self._failed(failure, out)
                else:
                    self._read(document, out)
        if data and not out and not self.complete:
            # The client sees that somebody is there, as it would of the expert.
            self._quiet(out)
        return b"".join(out)

    def end(self) -> bytes:
        """The expert's stream is over; some servers leave `[DONE]` out. Incomplete where it gave no reason to stop."""
        out: list[bytes] = []
        self._end(out)
        return b"".join(out)

    # For subclasses.

    @property
    def _account(self) -> tuple[int, int, Tokens]:
        """Tokens of the prompt and of the answer, estimated where the expert does not count them; and what it says."""
        tokens = self._tokens
        prompt = self._prompt_tokens if tokens.prompt is None else tokens.prompt
        said = math.ceil(self._said_bytes / BYTES_PER_TOKEN)
        return prompt, said if tokens.completion is None else tokens.completion, tokens

    def _why(self, last: ChatCall | None) -> str:
        """Why the answer ends: with calls, the client is to run them, whatever word the expert has for it.

        Args:
            last: The last call that the client gets; None where it gets none.
        """
        if last is not None and self.reason != "length":
            cut = self.reason == "content_filter" and last.arguments.unfinished
            return "content_filter" if cut else "tool_calls"
        return "stop" if self.reason in (None, "tool_calls") else str(self.reason)

    def _whole_message(self, body: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Choice and message of an answer in one piece; None where it is no answer."""
        document = object_in(body)
        choice = None if document is None else first_choice(document)
        if document is None or choice is None or reason_in(choice) == "error":
            return None
        message = part_of(choice, "message")
        self._created_s = count_in(document.get("created"))
        self._note(document, choice, message)
        return choice, message

    def _whole_calls(self, message: Mapping[str, Any]) -> Iterator[CallChunk]:
        """The calls of an answer in one piece, each with an id and all of its arguments."""
        for one in calls_in(message):
            function = one["function"]
            call = ChatCall(mended(text_of(one.get("id"))), mended(text_of(function.get("name"))))
            text = mended(arguments_of(function))
            if call.name or text or call.id:
                self._settle(call)
                yield CallChunk(call, text)

    def _settle(self, call: ChatCall) -> None:
        """A call goes out: it has a name, and an id of its own."""
        made = f"{self._call_prefix}_{len(self._call_ids)}"
        call.id = unlike_others(call.id, made, self._call_ids)
        call.name = call.name or NAMELESS

    def _count(self, more_bytes: int) -> None:
        """So much more of the answer is here, or is kept.

        Raises:
            AnswerSizeError: It is too much.
        """
        self._left_bytes -= more_bytes
        if self._left_bytes < 0:
            raise AnswerSizeError(self._most_bytes)

    @abstractmethod
    def _begin(self, out: list[bytes]) -> None:
        """The answer begins."""

    @abstractmethod
    def _say(self, kind: str, text: str, out: list[bytes]) -> None:
        """The model says more: `thought`, `text` or `refusal`."""

    @abstractmethod
    def _call(self, piece: CallChunk, out: list[bytes]) -> None:
        """More of a call is here."""

    @abstractmethod
    def _quiet(self, out: list[bytes]) -> None:
        """Something came that says nothing to the client."""

    @abstractmethod
    def _failed(self, message: str, out: list[bytes]) -> None:
        """The expert says that it failed."""

    @abstractmethod
    def _finish(self, out: list[bytes]) -> None:
        """The end of the answer."""

    # Inside.

    def _documents(self, text: bytes) -> Iterator[dict[str, Any] | None]:
        """The document of an event, None for the mark of the end; of servers that forget blank lines, several."""
        if not text:
            return
        for one in (text,) if (found := object_in(text)) is not None else text.splitlines():
            if one.strip() == b"[DONE]":
                yield None
                continue
            document = found or object_in(one)
            if document is None:
                self._count(len(one))
            else:
                yield document

    def _read(self, document: dict[str, Any], out: list[bytes]) -> None:
        choice = first_choice(document)
        delta = {} if choice is None else part_of(choice, "delta")
        if reason_in(choice) == "error":
            self.complete = True
            self._failed(error_message(choice) or "The expert failed.", out)
            return
        if not self._begun:
            self._begun = True
            self._created_s = count_in(document.get("created"))
            self._begin(out)
        self._note(document, choice, delta)
        for kind, text in zip(_SAYS, (thought_in(delta), said_in(delta), refused_in(delta)), strict=True):
            if text:
                text, self._halves[kind] = joined(self._halves[kind], text)
            if text:
                self._say(kind, text, out)
        for piece in self._reader.read(delta):
            self._call(piece, out)

    def _note(self, document: Mapping[str, Any], choice: Mapping[str, Any] | None, part: Mapping[str, Any]) -> None:
        """What every document says of the whole, and how much it says."""
        self._tokens = tokens_of(document).over(self._tokens)
        self.reason = reason_in(choice) or self.reason
        said = [thought_in(part), said_in(part), refused_in(part)]
        said += [arguments_of(call["function"]) for call in calls_in(part)]
        size = sum(len(one) for one in said)
        self._count(size)
        self._said_bytes += size if all(one.isascii() for one in said) else _bytes_of(said)

    def _end(self, out: list[bytes]) -> None:
        """The end, where there is a reason to stop and it was not said before."""
        if self.complete or self.reason is None:
            return
        self.complete = True
        for kind, half in self._halves.items():
            if half:
                self._say(kind, mended(half), out)
        for call in self._reader.calls:
            if rest := call.rest():
                self._call(CallChunk(call, rest), out)
        self._finish(out)


def _bytes_of(texts: list[str]) -> int:
    return sum(len(one.encode("utf-8", "surrogatepass")) for one in texts)
