"""The smallest HTTP/1.1 server that can play an upstream: keep-alive, streaming, and it notices when a client leaves.

For the embedded engine behind its private socket, the fake expert, tests and measurements. It is no front door: no
limits, no TLS, no timeouts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, cast

import httptools

from pointsman.experts.http1.response import Headers

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class ServerExchange:
    """One request, complete, and the way to answer it.

    Attributes:
        method: Upper case.
        target: Path and query as they came.
        headers: Lower-case names.
        body: The whole body.
    """

    __slots__ = ("_chunked", "_connection", "body", "headers", "method", "target")

    def __init__(self, connection: _ServerConnection, method: str, target: str, headers: Headers, body: bytes) -> None:
        self._connection = connection
        self._chunked = False
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in one write."""
        self._connection.write(head_bytes(status, (*headers, (b"content-length", b"%d" % len(body)))) + body)

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head. Without a content-length among the headers the body is sent in chunks."""
        self._chunked = all(name != b"content-length" for name, _ in headers)
        if self._chunked:
            headers = (*headers, (b"transfer-encoding", b"chunked"))
        self._connection.write(head_bytes(status, headers))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; waits while the client is slow."""
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            await self._connection.writable()

    def end(self) -> None:
        """The body is complete."""
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Send bytes that are an answer already, head and all."""
        self._connection.write(data)

    def close(self) -> None:
        """Close the connection after what was sent, whatever the head promised."""
        self._connection.close()


Handler = Callable[[ServerExchange], Coroutine[Any, Any, None] | None]


def head_bytes(status: int, headers: Headers) -> bytes:
    """Status line and headers."""
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _REASONS.get(status, b"Unknown"), lines)


async def serve(handler: Handler, host: str = "127.0.0.1", port: int = 0, uds: str | None = None) -> asyncio.Server:
    """Listen.

    Args:
        handler: Called with every complete request. It answers at once and returns None, or returns a coroutine, which
            then runs as a task and is cancelled when the client leaves.
        host: Address, for TCP.
        port: 0 for any free one.
        uds: Path of a unix-domain socket to listen on instead.
    """
    loop = asyncio.get_running_loop()
    if uds is not None:
        return await loop.create_unix_server(lambda: _ServerConnection(handler, loop), uds)
    return await loop.create_server(lambda: _ServerConnection(handler, loop), host, port, backlog=1024)


class _ServerConnection(asyncio.Protocol):
    __slots__ = (
        "_body",
        "_handler",
        "_headers",
        "_keep_alive",
        "_loop",
        "_parser",
        "_queue",
        "_task",
        "_transport",
        "_url",
        "_writable",
    )

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        self._handler = handler
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._queue: deque[ServerExchange] = deque()  # pipelined requests
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._keep_alive = True

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def writable(self) -> None:
        if self._writable is not None:
            await self._writable

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._parser = None
        self._queue.clear()
        if self._task is not None:
            self._loop.call_soon(self._task.cancel)  # soon: a task that never began could not note that it was left
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:  # a handler that answers at once has failed
            self._loop.call_exception_handler({"message": "a request failed", "exception": error.__context__})
            self.abort()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if (b"expect", b"100-continue") in self._headers:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._parser is None:
            return
        self._keep_alive = self._parser.should_keep_alive()
        exchange = ServerExchange(
            self,
            self._parser.get_method().decode("ascii"),
            self._url.decode("ascii", "replace"),
            tuple(self._headers),
            b"".join(self._body),
        )
        self._url, self._headers, self._body = b"", [], []
        self._queue.append(exchange)
        self._answer_next()

    def _answer_next(self) -> None:
        """Answer what waits, one request after the other, until one of them takes time."""
        while self._queue and self._task is None:
            work = self._handler(self._queue.popleft())
            if work is not None:
                self._task = self._loop.create_task(work)
                self._task.add_done_callback(self._answered)
        if self._task is None and not self._keep_alive:
            self.close()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._loop.call_exception_handler({"message": "a request failed", "exception": task.exception()})
            self.abort()
        else:
            self._answer_next()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
