"""A response while it is being read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pointsman.experts.http1.failures import BodyBroken, HttpFailure

Headers = tuple[tuple[bytes, bytes], ...]
Translate = Callable[[HttpFailure], Exception]


class Carrier(Protocol):
    """The source of a response: the connection, or the wait for one."""

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server."""

    def resume(self) -> None:
        """The reader took everything that was waiting."""

    def fail(self, failure: HttpFailure) -> None:
        """Give up: the sink is told the failure, and the connection is closed."""


class Sink(Protocol):
    """The receiver of a response, piece by piece. None of its methods may raise or wait.

    Attributes:
        carrier: Who brings the response now; None before the request is sent and after the end.
        status: HTTP status; 0 before the head is here.
        headers: Lower-case names, hop-by-hop headers dropped.
        sent_twice: Set before the end where the request went out a second time, since the connection of the first one
            was closed without an answer.
    """

    carrier: Carrier | None
    status: int
    headers: Headers
    sent_twice: bool

    def push(self, data: bytes) -> int:
        """Take a piece of the body; returns how many bytes the next receiver has not taken yet."""

    def wake(self) -> None:
        """Everything that came at once has been pushed, or the head is here."""

    def finish(self, failure: Exception | None) -> None:
        """No more will come: the end, or what broke it, as the client's `translate` renders it."""


class Response:
    """A sink that keeps what comes for a coroutine: wait for `head`, then iterate for the body.

    Attributes:
        carrier, status, headers, sent_twice: As a sink has them.
    """

    __slots__ = (
        "_buffered",
        "_chunks",
        "_complete",
        "_failure",
        "_loop",
        "_waiter",
        "carrier",
        "headers",
        "sent_twice",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.carrier: Carrier | None = None
        self.sent_twice = False
        self.status = 0
        self.headers: Headers = ()
        self._loop = loop
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._complete = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        """All of the body that has come since the last call.

        Cancelling it closes the connection at once, as `aclose` does.

        Raises:
            Exception: `IdleTimeout` or `BodyBroken`, as the client's `translate` renders them.
        """
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._complete:
                raise StopAsyncIteration
            await self._woken()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self.carrier is not None:
            self.carrier.resume()
        return data

    async def read(self) -> bytes:
        """The whole (remaining) body.

        Raises:
            Exception: As iteration does.
        """
        pieces = [piece async for piece in self]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Let go: closes the connection if the body was not received to its end. Idempotent."""
        self.abort()

    def abort(self) -> None:
        """As `aclose`, for callers that cannot await."""
        if self.carrier is not None:
            self.carrier.fail(BodyBroken("closed by its reader"))

    async def _woken(self) -> None:
        """Wait for the next `wake`. Cancelling it closes the connection at once."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Something changed: let the reader look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def head(self) -> None:
        """Wait until the head is here.

        Raises:
            Exception: It did not come; the failure as `translate` renders it.
        """
        if not self.status and self._failure is None:
            await self._woken()
        if self._failure is not None and not self.status:
            raise self._failure

    # What the carrier calls.

    def push(self, data: bytes) -> int:
        """Keep a piece of the body; returns the bytes now waiting."""
        self._chunks.append(data)
        self._buffered += len(data)
        return self._buffered

    def finish(self, failure: Exception | None) -> None:
        """No more will come."""
        self._failure = failure
        self._complete = failure is None
        self.wake()
