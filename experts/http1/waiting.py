"""A request that waits for a connection."""

from __future__ import annotations

import asyncio
from typing import Protocol

from pointsman.experts.http1.connection import Connection
from pointsman.experts.http1.failures import ConnectionLostError, HttpFailure, PoolTimeout
from pointsman.experts.http1.response import Translate
from pointsman.experts.http1.upstream_request import UpstreamRequest


class ConnectionOwner(Protocol):
    """Where connections come from: the client.

    Attributes:
        translate: Renders failures for sinks.
    """

    translate: Translate

    async def acquire(self) -> Connection:
        """A connection to write on.

        Raises:
            HttpFailure: There is none.
        """


class WaitingRequest:
    """A request on its way to a connection. Its carrier until then."""

    __slots__ = ("_client", "_request", "_task")

    def __init__(self, client: ConnectionOwner, request: UpstreamRequest) -> None:
        self._client = client
        self._request = request
        request.sink.carrier = self
        self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            connection = await self._client.acquire()
            connection.send(self._request)
        except HttpFailure as failure:
            if self._request.resent:
                # The first time it may have reached the server, which is gone since.
                lost = ConnectionLostError(f"closed before its answer, and then: {failure}", received=False)
                lost.__cause__ = failure
                self._request.finish(lost, self._client.translate)
            else:
                self._request.finish(failure, self._client.translate)

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server: only one that is sent again may."""
        return self._request.resent

    def resume(self) -> None:
        """Nothing has come yet."""

    def fail(self, failure: HttpFailure) -> None:
        """Wait no longer."""
        self._task.cancel()
        self._request.finish(failure, self._client.translate)


def expire(waiter: asyncio.Future[Connection | None]) -> None:
    """Nobody gave it a connection in time."""
    if not waiter.done():
        waiter.set_exception(PoolTimeout("no connection became free in time"))
