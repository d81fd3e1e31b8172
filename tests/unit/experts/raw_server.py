"""A TCP server that says exactly the bytes a test wants, and a client that reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pointsman.experts.http1.client import ConnectionLimits, HttpClient, Timeouts
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.response import Response

Talk = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """The server's end of one connection."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> bytes:
        """Read one request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return head + await self.reader.readexactly(length)

    async def say(self, *pieces: bytes) -> None:
        """Send bytes, each piece on its own."""
        for piece in pieces:
            if self.writer.is_closing():
                # The client has gone; not every event loop says so as a ConnectionError.
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def until_left(self) -> None:
        """Wait until the client closes its end."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionResetError:
            pass
        self.left.set()


@dataclass
class Server:
    """Where it listens and who has come."""

    port: int
    peers: list[Peer] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[Server]:
    """A server that runs `talk` for every connection and then closes it."""
    server: Server
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        peer = Peer(len(server.peers), reader, writer)
        server.peers.append(peer)
        try:
            await talk(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        except Exception as error:
            server.errors.append(error)
            raise
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not server.errors


@asynccontextmanager
async def client_of(
    server: Server, timeouts: Timeouts | None = None, limits: ConnectionLimits | None = None
) -> AsyncIterator[HttpClient]:
    """A client of that server."""
    client = HttpClient(Origin.parse(f"http://127.0.0.1:{server.port}"), timeouts=timeouts, limits=limits)
    try:
        yield client
    finally:
        await client.aclose()
        assert client.connections == 0, "a connection slot leaked"


async def get(client: HttpClient, body: bytes = b"", **options: float) -> Response:
    """One request."""
    return await client.request(client.prepare("POST", "/"), (), body, **options)


def plain(body: bytes, *headers: bytes) -> bytes:
    """A response with a content-length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body)
