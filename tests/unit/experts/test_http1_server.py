"""The small server: what a client on a plain socket sees of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pointsman.experts.http1.server import ServerExchange, serve

JSON = ((b"content-type", b"application/json"),)


class Handler:
    """Echoes: `/now` at once, `/later` in pieces after a moment, `/never` not at all; `/wrong` and `/broken` fail."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    def __call__(self, exchange: ServerExchange) -> Coroutine[Any, Any, None] | None:
        if exchange.target == "/wrong":
            raise RuntimeError("as asked")
        if exchange.target == "/now":
            exchange.respond(200, JSON, exchange.body or b"now")
            return None
        return getattr(self, f"_{exchange.target.removeprefix('/')}")(exchange)  # type: ignore[no-any-return]

    async def _later(self, exchange: ServerExchange) -> None:
        await asyncio.sleep(0.02)
        exchange.begin(200, JSON)
        for piece in (b"la", b"", b"ter"):
            await exchange.send(piece)
        exchange.end()

    async def _endless(self, exchange: ServerExchange) -> None:
        exchange.begin(200, ())
        try:
            while True:
                await exchange.send(b"x" * 65536)
                self.sent = getattr(self, "sent", 0) + 65536
        finally:
            self.left.set()

    async def _never(self, exchange: ServerExchange) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            self.left.set()

    async def _broken(self, exchange: ServerExchange) -> None:
        raise RuntimeError("as asked")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Handler, asyncio.StreamReader, asyncio.StreamWriter]]:
    handler = Handler()
    server = await serve(handler)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield handler, reader, writer
    finally:
        writer.close()
        server.close()


def request(target: str, body: bytes = b"", *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = b"".join(header + b"\r\n" for header in (b"content-length: %d" % len(body), *headers))
    return b"POST %b HTTP/%b\r\nhost: h\r\n%b\r\n%b" % (target.encode(), version, lines, body)


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


LATER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nla\r\n3\r\nter\r\n0\r\n\r\n"
)


async def test_answers_in_turn_on_one_connection() -> None:
    async with connected() as (_, reader, writer):
        for target, expected in (("/now", whole(b"hello")), ("/later", LATER), ("/now", whole(b"hello"))):
            writer.write(request(target, b"hello"))
            assert await reader.readexactly(len(expected)) == expected


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async with connected() as (_, reader, writer):
        targets = ["/now", "/later", "/now", "/now", "/later", "/now"]
        writer.write(b"".join(request(target) for target in targets))
        expected = b"".join(LATER if target == "/later" else whole(b"now") for target in targets)
        assert await asyncio.wait_for(reader.readexactly(len(expected)), 5) == expected


async def test_a_body_in_pieces_and_one_that_waits_to_be_asked_for() -> None:
    async with connected() as (_, reader, writer):
        message = request("/now", b"hello", b"expect: 100-continue")
        head, body = message[:-5], message[-5:]
        writer.write(head)
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await asyncio.wait_for(reader.readexactly(len(go_on)), 5) == go_on
        for byte in body:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        expected = whole(b"hello")
        assert await asyncio.wait_for(reader.readexactly(len(expected)), 5) == expected


@pytest.mark.parametrize("target", ["/now", "/later"])
@pytest.mark.parametrize("message", ["close", "1.0"])
async def test_a_client_that_wants_no_more_gets_the_end(target: str, message: str) -> None:
    async with connected() as (_, reader, writer):
        ending = request(target, b"", b"connection: close")
        writer.write(ending if message == "close" else request(target, version=b"1.0"))
        assert await asyncio.wait_for(reader.read(), 5) == (LATER if target == "/later" else whole(b"now"))


async def test_a_client_that_leaves_cancels_the_work() -> None:
    async with connected() as (handler, _, writer):
        writer.write(request("/never"))
        await asyncio.sleep(0.02)
        assert not handler.left.is_set()
        writer.close()
        await asyncio.wait_for(handler.left.wait(), 5)


async def test_a_slow_client_slows_the_work() -> None:
    async with connected() as (handler, _, writer):
        writer.write(request("/endless"))
        await asyncio.sleep(0.1)
        sent = handler.sent
        await asyncio.sleep(0.1)
        assert handler.sent == sent < 50_000_000
        writer.close()
        await asyncio.wait_for(handler.left.wait(), 5)


@pytest.mark.parametrize("target", ["/wrong", "/broken"])
async def test_a_fault_closes_the_connection_and_is_reported(target: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with connected() as (_, reader, writer):
        writer.write(request(target))
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    assert [str(context["exception"]) for context in reported] == ["as asked"]


async def test_nonsense_closes_the_connection() -> None:
    async with connected() as (_, reader, writer):
        writer.write(b"this is no HTTP\r\n\r\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
