"""An expert's answer on its way to the client by callbacks: what the expert's connection reads is written at once.

No task, no future and no queue stand between the two sockets; that is where most of a proxy's time goes. Everything
about an answer that is not transport (accounting, event boundaries, fallbacks) is the same as on the way by coroutines,
and whatever needs to wait is handed over to that way.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from experts.errors import ExpertError, ExpertProtocolError, ExpertUnavailable
from experts.http1.connection import Connection
from experts.http1.failures import BodyBroken, HttpFailure
from experts.http1.response import Headers
from experts.protocols import ImmediateExpert
from gateway.answer import Answer
from gateway.errors import CLIENT_LEFT, RequestRefused, shutting_down
from gateway.pipeline import Departure, Pipeline
from gateway.whole_reply import MAX_WHOLE_BYTES, is_stream
from gateway.wire.refusal_shape import refusal_event
from gateway.wire.response_head import answer_headers

_log = logging.getLogger(__name__)


class ClientStream(Protocol):
    """A streamed response on its way out."""

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Its head."""

    def write(self, data: bytes) -> None:
        """A piece of it."""

    def end(self) -> None:
        """Its end; the exchange is over."""

    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""


class ClientSide(ClientStream, Protocol):
    """Where an answer goes. Nothing is written once the exchange is over."""

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; the exchange is over."""

    def refuse(self, refusal: RequestRefused) -> None:
        """An error instead of an answer; the exchange is over."""

    def hand_over(self, departure: Departure | None) -> None:
        """Let the way by coroutines go on from here; None where nothing is decided yet."""


class Relay:
    """One attempt at one expert. A sink of the expert's connection.

    Args:
        pipeline: Judges what comes.
        client: Where it goes.
        departure: The request; its first name is the expert's.
        expert: The expert.
        forward: Client headers that travel on.
    """

    __slots__ = (
        "_answer",
        "_attempt",
        "_client",
        "_connection",
        "_departure",
        "_expert",
        "_forward",
        "_over",
        "_pieces",
        "_pipeline",
        "_size",
        "headers",
        "status",
    )

    def __init__(
        self,
        pipeline: Pipeline,
        client: ClientSide,
        departure: Departure,
        expert: ImmediateExpert,
        forward: Headers,
    ) -> None:
        self.status = 0
        self.headers: Headers = ()
        self._pipeline = pipeline
        self._client = client
        self._departure = departure
        self._expert = expert
        self._pieces: list[bytes] = []
        self._size = 0
        self._answer: Answer | None = None
        self._over = False
        self._connection: Connection | None = None
        self._forward = forward
        routed = departure.routed
        hold, routed.hold = routed.hold, None
        self._attempt = pipeline.begin(
            departure.names[0], routed, departure.entry, stream=routed.inbound.stream, hold=hold
        )

    def start(self) -> None:
        """Send the request."""
        try:
            call = self._pipeline.call_of(self._attempt.expert, self._departure.routed, self._forward)
            self._connection = self._expert.send(call, self)
        except ExpertError as error:
            self._failed(error)
            return
        if self._connection is None:
            self._withdraw()

    # What the client's side calls.

    def client_left(self) -> None:
        """Cancel the expert."""
        if self._over:
            return
        self._over = True
        if self._answer is not None:
            self._answer.left()
        else:
            self._pipeline.recorder.finish(self._departure.routed, self._attempt, CLIENT_LEFT)
        if self._connection is not None:
            self._connection.fail(BodyBroken("the client left"))

    def stop(self) -> None:
        """The gateway shuts down: cancel the expert and say so."""
        if self._over:
            return
        refusal = shutting_down()
        self._over = True
        if self._answer is not None:
            self._answer.left()
            self._client.write(refusal_event(refusal, self._departure.routed.inbound.asked))
            self._client.end()
        else:
            self._pipeline.recorder.finish(self._departure.routed, self._attempt, refusal.status)
            self._client.refuse(refusal)
        if self._connection is not None:
            self._connection.fail(BodyBroken("shutting down"))

    def client_drained(self) -> None:
        """The client took what was waiting: read on."""
        if self._connection is not None:
            self._connection.resume()

    # What the connection calls.

    def push(self, data: bytes) -> int:
        """A piece of the body."""
        self._pieces.append(data)
        self._size += len(data)
        return self._size + self._client.unsent_bytes() if self._answer is not None else 0

    def wake(self) -> None:
        """All that came at once is here: pass on what may be passed on."""
        if self._over:
            return
        if self._answer is None and not self._begin():
            return
        if self._answer is not None:
            self._pass_on(self._answer)

    def finish(self, failure: HttpFailure | None) -> None:
        """The end of the answer, or what broke it."""
        connection, self._connection = self._connection, None
        if self._over:
            return
        if failure is not None:
            self._broken(failure, connection)
        elif self._answer is not None or self._begin():
            if self._answer is None:
                self._whole()
            else:
                self._pass_on(self._answer)
                self._over = True
                if data := self._answer.end():
                    self._client.write(data)
                self._client.end()

    # Inside.

    def _begin(self) -> bool:
        """The head is here: a stream begins now. False when the answer will not be passed on."""
        departure, status = self._departure, self.status
        if self._size > MAX_WHOLE_BYTES:
            self._give_up(ExpertProtocolError(self._attempt.expert, f"answer of more than {MAX_WHOLE_BYTES} bytes"))
            return False
        if is_stream(departure.routed.inbound, self):
            if not self._accepted():
                return False
            answer = Answer(self._pipeline.recorder, departure.routed, self._attempt, self, None, departure.overhead_s)
            self._client.begin(status, answer_headers(departure.routed, answer))
            self._answer = answer
        return True

    def _whole(self) -> None:
        """An answer that is not streamed goes out when all of it is here."""
        departure = self._departure
        if not self._accepted():
            return
        self._over = True
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        answer = Answer(self._pipeline.recorder, departure.routed, self._attempt, self, body, departure.overhead_s)
        self._client.send_whole(answer.status, answer_headers(departure.routed, answer), answer.body or b"")

    def _pass_on(self, answer: Answer) -> None:
        pieces = self._pieces
        if not pieces:
            return
        data = answer.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        pieces.clear()
        self._size = 0
        if data:
            self._client.write(data)

    def _accepted(self) -> bool:
        departure = self._departure
        try:
            if self._pipeline.accepts(departure.routed, self._attempt, self.status, last=self._last):
                return True
        except RequestRefused as refusal:
            self._over = True
            self._drop()
            self._client.refuse(refusal)
            return False
        self._over = True
        self._drop()
        self._client.hand_over(replace(departure, names=departure.names[1:]))
        return False

    def _broken(self, failure: HttpFailure, connection: Connection | None) -> None:
        if self._answer is not None:
            self._pass_on(self._answer)
            self._over = True
            self._client.write(self._answer.broken(self._expert.error_of(failure)))
            self._client.end()
        elif connection is not None and connection.stale(failure):
            self._withdraw()
        else:
            error = self._expert.error_of(failure)
            # Nothing has gone to the client yet, so another expert may still be tried.
            self._failed(ExpertUnavailable(error.expert, error.message) if isinstance(failure, BodyBroken) else error)

    def _give_up(self, error: ExpertError) -> None:
        self._drop()
        self._failed(error)

    def _failed(self, error: ExpertError) -> None:
        """The expert failed and nothing of its answer went out."""
        self._over = True
        departure = self._departure
        try:
            self._pipeline.failed(departure.routed, self._attempt, error, last=self._last)
        except RequestRefused as refusal:
            self._client.refuse(refusal)
            return
        self._client.hand_over(replace(departure, names=departure.names[1:]))

    def _withdraw(self) -> None:
        """Nothing reached the expert: it is asked again by whoever can wait for a new connection."""
        self._over = True
        self._pipeline.withdraw(self._departure.routed, self._attempt)
        self._client.hand_over(self._departure)

    @property
    def _last(self) -> bool:
        """Whether no other expert may be asked."""
        return self._pipeline.last_of(self._departure.names)

    def _drop(self) -> None:
        self._over = True
        if self._connection is not None:
            self._connection.fail(BodyBroken("not wanted"))
