"""One response at a time: how bodies end, what is dropped, what is refused."""

from __future__ import annotations

import asyncio

import pytest

from pointsman.experts.http1.client import Timeouts
from pointsman.experts.http1.connection import MAX_BUFFERED_BYTES, MAX_HEAD_BYTES
from pointsman.experts.http1.failures import BadResponse, BodyBroken, ConnectionLostError, HeadTimeout, IdleTimeout
from pointsman.experts.http1.response import Response
from tests.unit.experts.raw_server import Peer, client_of, get, plain, talking

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def saying(*pieces: bytes, hold: bool = False):
    """Answer every request with these bytes, then close (or wait for the client to go)."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        if hold:
            await peer.until_left()

    return talk


async def until_failure(response: Response, got: list[bytes]) -> None:
    """Read on, keeping what came before the failure."""
    async for piece in response:
        got.append(piece)  # noqa: PERF401  # a comprehension would lose what came before the failure


BODIES = {
    "content-length": [plain(b"hello world")],
    "empty": [plain(b"")],
    "content-length byte by byte": [bytes([byte]) for byte in plain(b"hello world")],
    "chunked": [CHUNKED, b"5\r\nhello\r\n", b"6;note=x\r\n world\r\n", b"0\r\n\r\n"],
    "chunked with trailers": [CHUNKED + b"b\r\nhello world\r\n0\r\nX-Sum: 1\r\n\r\n"],
    "chunked byte by byte": [bytes([byte]) for byte in CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"],
    "until close": [b"HTTP/1.1 200 OK\r\n\r\nhello ", b"world"],
    "until close, HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\nhello world"],
    "after 100 and 103": [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        plain(b"hello world"),
    ],
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_read_to_its_end(name: str) -> None:
    async with talking(saying(*BODIES[name])) as server, client_of(server) as client:
        response = await get(client)
        expected = b"" if name in ("empty", "no content") else b"hello world"
        assert await response.read() == expected
        assert [piece async for piece in response] == []
        assert all(name not in ("link", "x-sum") for name, _ in response.headers)


async def test_headers_arrive_lower_case_without_those_of_the_connection() -> None:
    head = (
        b"X-Request-ID: 7",
        b"Content-Type: text/event-stream",
        b"Connection: keep-alive, X-Internal",
        b"X-Internal: secret",
        b"Keep-Alive: timeout=5",
        b"X-Empty:",
        b"Set-Cookie: a=1",
        b"Set-Cookie: b=2",
    )
    async with talking(saying(plain(b"ok", *head))) as server, client_of(server) as client:
        response = await get(client)
        assert response.status == 200
        assert response.headers == (
            (b"x-request-id", b"7"),
            (b"content-type", b"text/event-stream"),
            (b"x-empty", b""),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"content-length", b"2"),
        )


async def test_the_request_is_what_was_asked_for() -> None:
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.say(plain(b""))

    async with talking(talk) as server, client_of(server) as client:
        prepared = client.prepare("POST", "/v1/x", ((b"content-type", b"application/json"),))
        await client.request(prepared, ((b"x-request-id", b"7"),), b'{"a":1}')
    host = f"host: 127.0.0.1:{server.port}\r\n".encode()
    assert seen == [
        b"POST /v1/x HTTP/1.1\r\n"
        + host
        + b"content-type: application/json\r\nx-request-id: 7\r\ncontent-length: 7\r\n\r\n"
        b'{"a":1}'
    ]


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_header_cannot_smuggle_another(value: bytes) -> None:
    async with talking(saying(plain(b""))) as server, client_of(server) as client:
        with pytest.raises(ValueError, match="line break"):
            await client.request(client.prepare("POST", "/"), ((b"x-a", value),))
        assert client.connections == 0


TRUNCATED = {
    "content-length": [plain(b"hello world")[:-3]],
    "chunked, in a chunk": [CHUNKED + b"5\r\nhel"],
    "chunked, between chunks": [CHUNKED, b"5\r\nhello\r\n"],
    "chunked, before the last line": [CHUNKED, b"5\r\nhello\r\n0\r\n"],
    "not chunked after all": [CHUNKED, b"5\r\nhello\r\n", b"this is no chunk size\r\n"],
}


@pytest.mark.parametrize("name", TRUNCATED)
async def test_a_truncated_body_is_no_whole_one(name: str) -> None:
    async with talking(saying(*TRUNCATED[name])) as server, client_of(server) as client:
        response = await get(client)
        with pytest.raises(BodyBroken):
            await until_failure(response, got := [])
        assert b"".join(got).startswith(b"hel")
        with pytest.raises(BodyBroken):
            await anext(response)
        assert client.idle_connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ],
    ids=["not HTTP", "upgrade", "length and chunked", "two lengths"],
)
async def test_nonsense_is_refused(answer: bytes) -> None:
    async with talking(saying(answer, hold=True)) as server, client_of(server) as client:
        with pytest.raises(BadResponse):
            await get(client)


async def test_a_head_without_end_is_refused() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(2 + MAX_HEAD_BYTES // 4096):
            await peer.say(b"x" * 4096)
        await peer.until_left()

    async with talking(talk) as server, client_of(server) as client:
        with pytest.raises(BadResponse, match="head larger"):
            await get(client)


async def test_trailers_without_end_break_the_body() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n0\r\nX-Long: ")
        for _ in range(2 + MAX_HEAD_BYTES // 4096):
            await peer.say(b"x" * 4096)
        await peer.until_left()

    async with talking(talk) as server, client_of(server) as client:
        response = await get(client)
        with pytest.raises(BodyBroken, match="framing"):
            await response.read()


async def test_silence_ends_in_a_head_timeout_and_a_closed_connection() -> None:
    async with talking(saying(hold=True)) as server, client_of(server) as client:
        with pytest.raises(HeadTimeout):
            await get(client, head_timeout_s=0.05)
        await asyncio.wait_for(server.peers[0].left.wait(), 2)


async def test_a_stalled_body_ends_in_an_idle_timeout() -> None:
    talk = saying(CHUNKED, b"5\r\nhello\r\n", hold=True)
    async with talking(talk) as server, client_of(server) as client:
        response = await get(client, idle_timeout_s=0.05)
        with pytest.raises(IdleTimeout):
            await until_failure(response, got := [])
        assert got == [b"hello"]
        await asyncio.wait_for(server.peers[0].left.wait(), 2)


async def test_a_body_that_keeps_coming_outlives_the_idle_timeout() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        for _ in range(8):
            await asyncio.sleep(0.05)
            await peer.say(b"1\r\nx\r\n")
        await peer.say(b"0\r\n\r\n")

    async with talking(talk) as server, client_of(server, Timeouts(idle_s=0.2)) as client:
        assert await (await get(client)).read() == b"x" * 8


async def test_a_slow_reader_slows_the_server_and_is_no_idle_timeout() -> None:
    size = 64 * MAX_BUFFERED_BYTES
    sent = 0

    async def talk(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.say(b"x" * 65536)
            sent += 65536

    async with talking(talk) as server, client_of(server, Timeouts(idle_s=0.1)) as client:
        response = await get(client)
        await asyncio.sleep(0.4)  # longer than the idle timeout: the server is not to blame for the pause
        assert sent < size // 2
        got = 0
        async for piece in response:
            assert len(piece) <= 2 * MAX_BUFFERED_BYTES
            got += len(piece)
        assert got == size


async def test_leaving_half_way_closes_the_connection_at_once() -> None:
    async with talking(saying(CHUNKED, b"5\r\nhello\r\n", hold=True)) as server, client_of(server) as client:
        response = await get(client)
        assert await anext(response) == b"hello"
        await response.aclose()
        await response.aclose()
        await asyncio.wait_for(server.peers[0].left.wait(), 2)
        with pytest.raises(BodyBroken):
            await anext(response)
        assert client.connections == 0


@pytest.mark.parametrize("answer", [(), (CHUNKED,)], ids=["before the head", "in the body"])
async def test_cancelling_closes_the_connection_at_once(answer: tuple[bytes, ...]) -> None:
    async with talking(saying(*answer, hold=True)) as server, client_of(server) as client:

        async def ask() -> bytes:
            return await (await get(client)).read()

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.peers[0].left.wait(), 2)
        assert client.connections == 0


async def test_closing_before_answering_loses_the_connection() -> None:
    async with talking(saying()) as server, client_of(server) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await get(client)
        assert not caught.value.received
    async with talking(saying(b"HTTP/1.1 200 OK\r\nX-Half")) as server, client_of(server) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await get(client)
        assert caught.value.received
