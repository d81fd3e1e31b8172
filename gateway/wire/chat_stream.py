"""A streamed chat completion during translation: the part that is the same for every API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from pointsman.gateway.wire.chat_answer import (
    calls_in,
    error_message,
    first_choice,
    object_in,
    part_of,
    said_in,
    thought_in,
)

#: What a translation may keep where nothing says how much.
MOST_BYTES: Final = 4 * 1024 * 1024


class AnswerSizeError(Exception):
    """An answer is longer than is translated.

    Args:
        most_bytes: As long as it may be.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the answer is longer than the {most_bytes} bytes that are translated")


class ChatStream(ABC):
    """Reads an expert's events one by one; a subclass writes the client's.

    Args:
        most_bytes: Of text, of arguments, of what cannot be read, and one for every line.

    Attributes:
        complete: Whether the stream has come to its end, be it an error.
    """

    complete = False

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = self._left_bytes = most_bytes

    def feed(self, data: bytes) -> bytes:
        """Whole events of the expert's stream -> events of ours. What cannot be read is left out.

        Raises:
            AnswerSizeError: There is more of it than is translated.
        """
        out: list[bytes] = []
        for line in data.splitlines():
            if not line:
                continue
            self._count(1 if len(line) <= self._most_bytes else len(line))
            if not line.startswith(b"data:"):
                continue
            text = line[5:].strip()
            document = None if text == b"[DONE]" else object_in(text)
            if text == b"[DONE]":
                self._end(out)
            elif document is None or self.complete:
                self._count(len(line))
            elif (failure := error_message(document)) is not None:
                self.complete = True
                self._failed(failure, out)
            else:
                self._read(document, out)
        return b"".join(out)

    def end(self) -> bytes:
        """The expert's stream is over; some servers leave `[DONE]` out. Incomplete where it gave no reason to stop."""
        out: list[bytes] = []
        self._end(out)
        return b"".join(out)

    def _read(self, document: Mapping[str, Any], out: list[bytes]) -> None:
        choice = first_choice(document)
        delta = {} if choice is None else part_of(choice, "delta")
        said = len(thought_in(delta)) + len(said_in(delta)) + len(said_in(delta, "refusal"))
        self._count(said + sum(len(said_in(call["function"], "arguments")) for call in calls_in(delta)))
        self._chunk(document, choice, delta, out)

    def _count(self, more_bytes: int) -> None:
        """So much more of the answer is here, or is kept.

        Raises:
            AnswerSizeError: It is too much.
        """
        self._left_bytes -= more_bytes
        if self._left_bytes < 0:
            raise AnswerSizeError(self._most_bytes)

    @abstractmethod
    def _chunk(
        self, document: Mapping[str, Any], choice: Mapping[str, Any] | None, delta: Mapping[str, Any], out: list[bytes]
    ) -> None:
        """A piece of the answer: the document, its first choice and what that says."""

    @abstractmethod
    def _failed(self, message: str, out: list[bytes]) -> None:
        """The expert says that it failed."""

    @abstractmethod
    def _end(self, out: list[bytes]) -> None:
        """The end, where there is a reason to stop and it was not said before."""
