"""A streamed chat completion during translation: the part that is the same for every API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pointsman.gateway.wire.chat_answer import error_message, events_in


class ChatStream(ABC):
    """Reads an expert's events one by one; a subclass writes the client's.

    Attributes:
        complete: Whether the stream has come to its end, be it an error.
    """

    complete = False

    def feed(self, data: bytes) -> bytes:
        """Whole events of the expert's stream -> events of ours."""
        out: list[bytes] = []
        for document in events_in(data):
            if document is None:
                self._end(out)
            elif self.complete:
                continue
            elif (failure := error_message(document)) is not None:
                self.complete = True
                self._failed(failure, out)
            else:
                self._chunk(document, out)
        return b"".join(out)

    def end(self) -> bytes:
        """The expert's stream is over; some servers leave `[DONE]` out. Incomplete where it gave no reason to stop."""
        out: list[bytes] = []
        self._end(out)
        return b"".join(out)

    @abstractmethod
    def _chunk(self, document: Mapping[str, Any], out: list[bytes]) -> None:
        """A piece of the answer."""

    @abstractmethod
    def _failed(self, message: str, out: list[bytes]) -> None:
        """The expert says that it failed."""

    @abstractmethod
    def _end(self, out: list[bytes]) -> None:
        """The end, where there is a reason to stop and it was not said before."""
