"""An expert's answer on its way to the client, whole or streamed, accounted for exactly once."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from experts.errors import ExpertError
from experts.protocols import ExpertReply, Headers
from gateway.errors import CLIENT_LEFT, refusal_for
from gateway.null_experts import Recording
from gateway.recorder import Attempt, Recorder, Routed
from gateway.wire.reply import EventStream, usage_in, with_model

_log = logging.getLogger(__name__)


class Answer:
    """What the client gets. Close it in every case.

    Args:
        recorder: Told how it ended.
        routed: The request.
        attempt: The attempt that answers.
        reply: The expert's reply.
        body: The whole body of an answer that is not streamed; None when `pieces` is to be read.
        overhead_s: From the last byte of the request to its first dispatch.
        recording: Keeps the answer once it is complete; None where it is not to be kept.
    """

    __slots__ = ("_attempt", "_over", "_recorder", "_recording", "_reply", "_routed", "body", "overhead_s")

    def __init__(
        self,
        recorder: Recorder,
        routed: Routed,
        attempt: Attempt,
        reply: ExpertReply,
        body: bytes | None,
        overhead_s: float,
        recording: Recording | None = None,
    ) -> None:
        self._recorder = recorder
        self._routed = routed
        self._attempt = attempt
        self._reply = reply
        self._recording = recording
        self._over = False
        self.overhead_s = overhead_s
        self.body = body
        if body is not None:
            self._account_for(body)

    @property
    def notes(self) -> Headers:
        """Response headers of our own beside those of every answer: none."""
        return ()

    @property
    def expert(self) -> str:
        """Who answers."""
        return self._attempt.expert

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._reply.status

    @property
    def headers(self) -> Headers:
        """The expert's response headers."""
        return self._reply.headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The streamed body: whole events, byte for byte. A dead expert becomes an error event, never a clean end."""
        stream = EventStream(self.expert)
        status = CLIENT_LEFT
        try:
            try:
                async for chunk in self._reply:
                    self._recorder.first_byte(self._attempt)
                    if data := stream.feed(chunk):
                        self._record(data)
                        yield data
                if data := stream.finish():
                    self._record(data)
                    yield data
                status = self.status
                if self._recording is not None:
                    self._recording.complete()
            except ExpertError as error:
                status = 502
                self._attempt.flight.fail(error)
                _log.warning("%s: stream broken: %s", self.expert, error.message)
                self._recorder.broken(self.expert)
                yield refusal_for(error, self._routed.decision.id).event()
        finally:
            self._over = True
            self._recorder.finish(self._routed, self._attempt, status, stream.usage)
            await self._reply.aclose()

    async def aclose(self) -> None:
        """Let go; cancels the expert when the answer was not read to its end. Idempotent."""
        if not self._over:
            self._over = True
            self._recorder.finish(self._routed, self._attempt, CLIENT_LEFT)
            await self._reply.aclose()

    def _record(self, data: bytes) -> None:
        if self._recording is not None:
            self._recording.feed(data)

    def _account_for(self, body: bytes) -> None:
        self._over = True
        self._recorder.first_byte(self._attempt)
        good = self.status < 400
        if good:
            self.body = with_model(body, self.expert)
            if self._recording is not None:
                self._recording.whole(body)
        self._recorder.finish(self._routed, self._attempt, self.status, usage_in(body) if good else None)
