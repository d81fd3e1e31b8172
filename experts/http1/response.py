"""A response while it is being read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from experts.http1.failures import BodyBroken, HttpFailure

Headers = tuple[tuple[bytes, bytes], ...]
Translate = Callable[[HttpFailure], Exception]


class Carrier(Protocol):
    """The connection a response is read from."""

    def resume(self) -> None:
        """The reader took everything that was waiting."""

    def fail(self, failure: HttpFailure) -> None:
        """End the response with a failure and close."""


class Sink(Protocol):
    """What a connection hands a response to, as it comes. None of its methods may raise or wait.

    Attributes:
        status: HTTP status; 0 before the head is here.
        headers: Lower-case names, hop-by-hop headers dropped.
    """

    status: int
    headers: Headers

    def push(self, data: bytes) -> int:
        """A piece of the body; answers how many bytes wait for whoever takes them on."""

    def wake(self) -> None:
        """Everything that came at once has been pushed, or the head is here."""

    def finish(self, failure: HttpFailure | None) -> None:
        """No more will come: the end, or what broke it. The connection is no longer this response's."""


class Response:
    """A response whose head has arrived; iterate for the body. Made by `Connection.exchange`.

    Attributes:
        status: HTTP status.
        headers: Lower-case names, hop-by-hop headers dropped.
    """

    __slots__ = (
        "_buffered",
        "_chunks",
        "_complete",
        "_connection",
        "_failure",
        "_loop",
        "_translate",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, connection: Carrier, loop: asyncio.AbstractEventLoop, translate: Translate) -> None:
        self.status = 0
        self.headers: Headers = ()
        self._connection: Carrier | None = connection  # None once the response no longer holds it
        self._loop = loop
        self._translate = translate
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._complete = False
        self._failure: HttpFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        """All of the body that has come since the last call.

        Cancelling it closes the connection at once, as `aclose` does.

        Raises:
            HttpFailure: `IdleTimedOut` or `BodyBroken`, as the client's `translate` renders them.
        """
        while not self._chunks:
            if self._failure is not None:
                raise self._translate(self._failure) from self._failure
            if self._complete:
                raise StopAsyncIteration
            await self._woken()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._connection is not None:
            self._connection.resume()
        return data

    async def read(self) -> bytes:
        """The whole (remaining) body.

        Raises:
            HttpFailure: As iteration does.
        """
        pieces = [piece async for piece in self]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Let go: closes the connection if the body was not received to its end. Idempotent."""
        self.abort()

    def abort(self) -> None:
        """As `aclose`, for callers that cannot await."""
        if self._connection is not None:
            self._connection.fail(BodyBroken("closed by its reader"))

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

    # What the connection calls.

    async def head(self) -> None:
        """Wait until the head is here."""
        await self._woken()
        if self._failure is not None and not self.status:
            raise self._failure

    def push(self, data: bytes) -> int:
        """Keep a piece of the body; returns the bytes now waiting."""
        self._chunks.append(data)
        self._buffered += len(data)
        return self._buffered

    def finish(self, failure: HttpFailure | None) -> None:
        """No more will come. The connection is no longer this response's."""
        self._connection = None
        self._failure = failure
        self._complete = failure is None
        self.wake()
