"""One attempt's answer on its way from the expert to the client. What is read from the expert is written at once.

No task, no future and no queue stands between the two sockets; that is where most of a proxy's time goes.
"""

from __future__ import annotations

from typing import Protocol

from pointsman.experts.errors import ExpertError, ExpertProtocolError, ExpertStreamBroken, ExpertUnavailable
from pointsman.experts.http1.failures import BodyBroken
from pointsman.experts.http1.response import Carrier, Headers
from pointsman.gateway.dispatch.answer import RelayedAnswer
from pointsman.gateway.dispatch.whole_reply import MAX_WHOLE_BYTES, is_stream
from pointsman.gateway.record.recorder import Attempt
from pointsman.gateway.wire.request import Inbound


class ClientSide(Protocol):
    """Where an answer goes. Nothing is written once the response is complete."""

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; it is complete."""

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of a streamed response."""

    def write(self, data: bytes) -> None:
        """A piece of a streamed response."""

    def end(self) -> None:
        """The end of a streamed response; it is complete."""

    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""


class RelayOwner(Protocol):
    """Who decides what becomes of an attempt: the dispatch."""

    def accept(self, relay: Relay, body: bytes | None) -> RelayedAnswer | None:
        """The attempt's answer may go out, as a stream that begins or as a whole body; None where it may not."""

    def finished(self) -> None:
        """The answer went out to its end."""

    def failed(self, relay: Relay, error: ExpertError) -> None:
        """The expert failed, and nothing of its answer went out."""

    def on_internal_error(self, error: Exception) -> None:
        """The gateway itself failed at the answer."""


class Relay:
    """One attempt at one expert. A sink of the expert's connection.

    Args:
        owner: Decides what becomes of it.
        client: Where the answer goes.
        inbound: The request.
        attempt: How the expert fares.

    Attributes:
        attempt: As given.
        answer: The answer, once it goes out as a stream.
        over: Whether nothing of it matters any more.
    """

    __slots__ = (
        "_client",
        "_inbound",
        "_owner",
        "_pieces",
        "_size",
        "answer",
        "attempt",
        "carrier",
        "headers",
        "over",
        "status",
    )

    def __init__(self, owner: RelayOwner, client: ClientSide, inbound: Inbound, attempt: Attempt) -> None:
        self.carrier: Carrier | None = None
        self.status = 0
        self.headers: Headers = ()
        self.attempt = attempt
        self.answer: RelayedAnswer | None = None
        self.over = False
        self._owner = owner
        self._client = client
        self._inbound = inbound
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def sent_twice(self) -> bool:
        """Whether the request went out a second time."""
        return self.attempt.sent_twice

    @sent_twice.setter
    def sent_twice(self, value: bool) -> None:
        self.attempt.sent_twice = value

    def drop(self) -> None:
        """Give it up: cancels the expert, unless its answer is complete."""
        self.over = True
        if self.carrier is not None:
            self.carrier.fail(BodyBroken("not wanted"))

    # What the carrier calls.

    def push(self, data: bytes) -> int:
        """A piece of the body."""
        self._pieces.append(data)
        self._size += len(data)
        return 0 if self.answer is None else self._size + self._client.unsent_bytes()

    def wake(self) -> None:
        """All that came at once is here: pass on what may be passed on."""
        if self.over or not self._pieces:
            return
        try:
            if self.answer is not None:
                self._pass_on(self.answer)
            elif self._size > MAX_WHOLE_BYTES:
                self.drop()
                error = ExpertProtocolError(self.attempt.expert, f"answer of more than {MAX_WHOLE_BYTES} bytes")
                self._owner.failed(self, error)
            elif self._inbound.stream and is_stream(self._inbound, self):
                self._begin()
        except Exception as error:  # a bug of ours must neither keep the expert's place nor leave the client waiting
            self._owner.on_internal_error(error)

    def finish(self, failure: Exception | None) -> None:
        """The end of the answer, or what broke it."""
        if self.over:
            return
        try:
            if failure is None:
                self._complete()
            else:
                self._broken(failure)
        except Exception as error:  # as in `wake`
            self._owner.on_internal_error(error)

    # Inside.

    def _begin(self) -> None:
        """The first byte of a stream is here."""
        self.answer = self._owner.accept(self, None)
        if self.answer is not None:
            self._pass_on(self.answer)

    def _pass_on(self, answer: RelayedAnswer) -> None:
        pieces = self._pieces
        if pieces:
            data = answer.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()
            self._size = 0
            if data:
                self._client.write(data)

    def _complete(self) -> None:
        if self.answer is None:
            if not is_stream(self._inbound, self):
                # An answer that is not streamed goes out when all of it is here.
                self._owner.accept(self, self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
                return
            self._begin()
        if self.answer is not None:
            self._pass_on(self.answer)
            if data := self.answer.end():
                self._client.write(data)
            self._end()

    def _broken(self, failure: Exception) -> None:
        error = failure if isinstance(failure, ExpertError) else ExpertProtocolError(self.attempt.expert, str(failure))
        if self.answer is not None:
            self._pass_on(self.answer)
            self._client.write(self.answer.broken(error))
            self._end()
        elif isinstance(error, ExpertStreamBroken):
            # Nothing has gone to the client yet, so another expert may still be tried.
            self._owner.failed(self, ExpertUnavailable(error.expert, error.message))
        else:
            self._owner.failed(self, error)

    def _end(self) -> None:
        self.over = True
        self.answer = None  # it refers to us
        self._client.end()
        self._owner.finished()
