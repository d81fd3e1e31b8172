"""Pushes any expert's reply to a sink: from the expert's own connection if it can push, otherwise from a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pointsman.experts.errors import ExpertError, ExpertProtocolError
from pointsman.experts.http1.failures import HttpFailure
from pointsman.experts.http1.response import Sink
from pointsman.experts.protocols import Expert, ExpertCall, PushingExpert

_log = logging.getLogger(__name__)

#: Bytes waiting for the sink's reader at which the expert is no longer read.
MAX_WAITING_BYTES: Final = 256 * 1024

#: Sends a call; raises ExpertError where it cannot be sent.
SendCall = Callable[[ExpertCall, Sink], None]


def sender_of(expert: Expert) -> SendCall:
    """How calls of an expert are sent so that the answer goes to a sink."""
    if isinstance(expert, PushingExpert):
        return expert.send

    def send(call: ExpertCall, sink: Sink) -> None:
        Pump(expert, call, sink)

    return send


class Pump:
    """Reads one reply in a task and pushes it to a sink. The sink's carrier.

    Args:
        expert: Who is called.
        call: The request.
        sink: Where its answer goes.
    """

    __slots__ = ("_call", "_expert", "_room", "_sink", "_task")

    def __init__(self, expert: Expert, call: ExpertCall, sink: Sink) -> None:
        self._expert = expert
        self._call = call
        self._sink = sink
        self._room: asyncio.Event | None = None
        sink.carrier = self
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"call {expert.spec.name}")

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the expert."""
        return True

    def resume(self) -> None:
        """The reader took everything that was waiting."""
        if self._room is not None:
            self._room.set()

    def fail(self, failure: HttpFailure) -> None:
        """Give up: cancels the expert's work."""
        self._task.cancel()
        self._finish(ExpertError(self._expert.spec.name, str(failure)))

    async def _run(self) -> None:
        name = self._expert.spec.name
        try:
            await self._read()
        except ExpertError as error:
            self._finish(error)
        except Exception as error:  # against the contract, yet the client must get an answer
            _log.exception("a call of %s failed", name)
            self._finish(ExpertProtocolError(name, f"the backend failed: {error}"))
        else:
            self._finish(None)

    async def _read(self) -> None:
        sink = self._sink
        reply = await self._expert.call(self._call)
        try:
            sink.status, sink.headers = reply.status, reply.headers
            sink.wake()
            async for piece in reply:
                waiting = sink.push(piece)
                sink.wake()
                if waiting > MAX_WAITING_BYTES:
                    self._room = asyncio.Event()
                    await self._room.wait()
                    self._room = None
        finally:
            await reply.aclose()

    def _finish(self, error: ExpertError | None) -> None:
        if self._sink.carrier is self:
            self._sink.carrier = None
            self._sink.finish(error)
