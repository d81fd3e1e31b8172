"""One attempt's answer on its way from the expert to the client. What is read from the expert is written at once.

No task, no future and no queue stands between the two sockets; that is where most of a proxy's time goes.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from pointsman.experts.errors import ExpertError, ExpertProtocolError, ExpertStreamBroken, ExpertUnavailable
from pointsman.experts.http1.failures import BodyBroken
from pointsman.experts.http1.response import Carrier, Headers
from pointsman.gateway.dispatch.answer import RelayedAnswer
from pointsman.gateway.dispatch.reservations import let_go
from pointsman.gateway.dispatch.whole_reply import is_stream, may_be_answer, too_large
from pointsman.gateway.record.recorder import Attempt
from pointsman.gateway.wire.chat_stream import AnswerSizeError
from pointsman.gateway.wire.expert_errors import StatedError
from pointsman.gateway.wire.first_event import StreamPhase, beginning
from pointsman.gateway.wire.large_bodies import LARGE_BYTES, LargeBodies
from pointsman.gateway.wire.request import Inbound
from pointsman.gateway.wire.whole_answer import WholeAnswer, read_answer

#: So many pieces of an answer that is not streamed are put together before more are kept: each takes memory of its own.
_MOST_PIECES: Final = 256
#: So much of a stream is kept back until it says something.
_MOST_KEPT_BACK: Final = 64 * 1024


class ResponseWriter(Protocol):
    """Where a response goes. Nothing is written once it is complete."""

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; it is complete."""

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of a streamed response."""

    def write(self, data: bytes) -> None:
        """A piece of a streamed response."""

    def end(self) -> None:
        """The end of a streamed response; it is complete."""


class ClientSide(ResponseWriter, Protocol):
    """The client's side of an exchange: its response, and how far that has come."""

    @property
    def begun(self) -> bool:
        """Whether the head of a streamed response went out."""

    def abort(self) -> None:
        """Cut the client off, whatever it has got so far."""

    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""


class RelayOwner(Protocol):
    """Who decides what becomes of an attempt: the dispatch."""

    def accept(self, relay: Relay, whole: WholeAnswer | None) -> RelayedAnswer | None:
        """The attempt's answer may go out, whole or (None) as a stream that begins; None where it may not."""

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
        most_bytes: Largest answer that is not streamed.
        first_event_timeout_s: How long a stream is kept back that has said nothing yet.
        large_bodies: Reads what is large.

    Attributes:
        attempt: As given.
        answer: The answer, once it goes out as a stream.
        over: Whether nothing of it matters any more.
    """

    __slots__ = (
        "_client",
        "_first_event_timeout_s",
        "_inbound",
        "_joined",
        "_large_bodies",
        "_most_bytes",
        "_owner",
        "_pieces",
        "_size",
        "_timer",
        "answer",
        "attempt",
        "carrier",
        "headers",
        "over",
        "status",
    )

    def __init__(
        self,
        owner: RelayOwner,
        client: ClientSide,
        inbound: Inbound,
        attempt: Attempt,
        most_bytes: int,
        first_event_timeout_s: float,
        large_bodies: LargeBodies,
    ) -> None:
        self.carrier: Carrier | None = None
        self.status = 0
        self.headers: Headers = ()
        self.attempt = attempt
        self.answer: RelayedAnswer | None = None
        self.over = False
        self._owner = owner
        self._client = client
        self._inbound = inbound
        self._most_bytes = most_bytes
        self._first_event_timeout_s = first_event_timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._large_bodies = large_bodies
        self._pieces: list[bytes] = []
        self._joined: bytearray | None = None  # pieces before those
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
        self._stop_timer()
        if self.carrier is not None:
            self.carrier.fail(BodyBroken("not wanted"))

    def let_go(self) -> None:
        """Give back what the attempt holds, where nobody has."""
        try:
            self.drop()
        finally:
            let_go(self.attempt)
            self.answer = None  # it refers to us

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
            elif self._inbound.stream and is_stream(self._inbound, self):
                self._look()
            elif self._size > self._most_bytes:
                self.drop()
                self._owner.failed(self, too_large(self.attempt.expert, self._most_bytes))
            elif len(self._pieces) > _MOST_PIECES:
                self._join()
        except Exception as error:  # a bug of ours must neither keep the expert's place nor leave the client waiting
            self._owner.on_internal_error(error)

    def finish(self, failure: Exception | None) -> None:
        """The end of the answer, or what broke it."""
        if self.over:
            return
        self._stop_timer()
        try:
            if failure is None:
                self._complete()
            else:
                self._broken(failure)
        except Exception as error:  # as in `wake`
            self._owner.on_internal_error(error)

    # Inside.

    def _look(self, *, ended: bool = False) -> None:
        """A stream has not begun to go out: see what it says first, while another expert may still be asked."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        said = beginning(data + b"\n\n" if ended else data)
        if said is StreamPhase.ANSWER:
            self._begin()
        elif isinstance(said, StatedError):
            pieces.clear()
            self._owner.accept(self, WholeAnswer(data, error=said, status=said.status or 502))
        elif ended or said is StreamPhase.ENDED:
            self.drop()
            self._owner.failed(self, ExpertProtocolError(self.attempt.expert, "a stream without an answer in it"))
        elif len(data) > _MOST_KEPT_BACK:
            self._begin()
        else:
            pieces[:] = (data,)
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._first_event_timeout_s, self._kept_back)

    def _kept_back(self) -> None:
        """It has said nothing for so long that the client must hear of it."""
        self._timer = None
        if self.over or self.answer is not None:
            return
        try:
            self._begin()
        except Exception as error:  # as in `wake`
            self._owner.on_internal_error(error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        """A stream begins to go out."""
        self._stop_timer()
        self.answer = self._owner.accept(self, None)
        if self.answer is not None:
            self._pass_on(self.answer)

    def _pass_on(self, answer: RelayedAnswer) -> None:
        pieces = self._pieces
        if pieces:
            whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self._size = 0
            try:
                data = answer.feed(whole)
            except AnswerSizeError as error:
                self._cut(answer, error)
                return
            if data:
                self._client.write(data)

    def _complete(self) -> None:
        if self.answer is None:
            if not is_stream(self._inbound, self):
                # An answer that is not streamed goes out when all of it is here.
                self._complete_whole()
                return
            self._look(ended=True)
        if self.answer is not None:
            self._pass_on(self.answer)
        if self.answer is not None:
            try:
                data = self.answer.end()
            except AnswerSizeError as error:
                self._cut(self.answer, error)
                return
            if data:
                self._client.write(data)
            self._end()

    def _complete_whole(self) -> None:
        if self._joined is not None:
            self._join()
        body: bytes | bytearray = b"".join(self._pieces) if self._joined is None else self._joined
        self._pieces.clear()
        if len(body) > self._most_bytes:
            self.over = True
            self._owner.failed(self, too_large(self.attempt.expert, self._most_bytes))
        elif self.status < 300 and not may_be_answer(self.headers, body):
            self.over = True
            self._owner.failed(self, ExpertProtocolError(self.attempt.expert, "an answer that is no JSON"))
        elif len(body) <= LARGE_BYTES:
            self._owner.accept(self, self._read(bytes(body)))
        else:
            reading = self._large_bodies.read_answer(self.attempt.expert, lambda: self._read(bytes(body)))
            reading.add_done_callback(self._was_read)

    def _was_read(self, reading: asyncio.Future[WholeAnswer]) -> None:
        """A large answer was read, beside the event loop."""
        if self.over or reading.cancelled():
            return
        try:
            self._owner.accept(self, reading.result())
        except Exception as error:  # as in `wake`
            self._owner.on_internal_error(error)

    def _read(self, body: bytes) -> WholeAnswer:
        attempt = self.attempt
        return read_answer(body, attempt.expert, self.status, self._inbound, native=attempt.native)

    def _join(self) -> None:
        if self._joined is None:
            self._joined = bytearray()
        self._joined += b"".join(self._pieces)
        self._pieces.clear()

    def _cut(self, answer: RelayedAnswer, error: AnswerSizeError) -> None:
        """More came than may: the stream ends with an error."""
        self.drop()
        self._client.write(answer.broken(ExpertProtocolError(self.attempt.expert, str(error))))
        self._end()

    def _broken(self, failure: Exception) -> None:
        error = failure if isinstance(failure, ExpertError) else ExpertProtocolError(self.attempt.expert, str(failure))
        if self.answer is not None:
            self._pass_on(self.answer)
            if self.answer is not None:
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
