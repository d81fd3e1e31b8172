"""Many requests over few connections: reuse, limits, queue, stale connections, and no slot ever lost."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from pointsman.experts.http1 import connection as connection_module
from pointsman.experts.http1.client import ConnectionLimits, HttpClient, Timeouts
from pointsman.experts.http1.failures import (
    BodyBroken,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeout,
    HttpFailure,
    PoolTimeout,
)
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.server import ServerExchange, serve
from tests.unit.experts.raw_server import Peer, client_of, get, plain, talking


async def echo(peer: Peer) -> None:
    """Answer every request with its own body."""
    while True:
        request = await peer.request()
        await peer.say(plain(request.partition(b"\r\n\r\n")[2]))


async def ask(client: HttpClient, body: bytes = b"", **options: float) -> bytes:
    return await (await get(client, body, **options)).read()


async def test_a_connection_is_used_again() -> None:
    async with talking(echo) as server, client_of(server) as client:
        for body in (b"a", b"b", b"", b"c"):
            assert await ask(client, body) == body
        assert len(server.peers) == 1
        assert client.idle_connections == client.connections == 1


async def test_a_response_left_unread_frees_its_connection_once_received() -> None:
    async with talking(echo) as server, client_of(server) as client:
        response = await get(client, b"kept")
        assert await ask(client, b"other") == b"other"
        assert await response.read() == b"kept"
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"x", b"Connection: close"),
        plain(b"x").replace(b"1.1", b"1.0"),
        plain(b"x") + b"HTTP/1.1 200 OK\r\n",
        plain(b"x") + b"garbage",
    ],
    ids=["connection: close", "HTTP/1.0", "a second answer", "garbage"],
)
async def test_a_connection_out_of_step_is_not_used_again(answer: bytes) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)
        await peer.until_left()

    async with talking(talk) as server, client_of(server) as client:
        assert await ask(client) == b"x"
        assert await ask(client) == b"x"
        assert len(server.peers) == 2
        await asyncio.sleep(0)
        assert client.connections == 0


async def test_unexpected_bytes_close_an_idle_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(plain(b"x"))
        await asyncio.sleep(0.02)
        await peer.say(plain(b"poison"))
        await peer.until_left()

    async with talking(talk) as server, client_of(server) as client:
        assert await ask(client) == b"x"
        await asyncio.sleep(0.1)
        assert client.connections == 0
        assert await ask(client) == b"x"


async def test_an_answer_before_the_request_was_taken_is_passed_on_and_ends_the_connection() -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")  # and no more: the body is megabytes
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.sleep(0.05)

    async with talking(talk) as server, client_of(server) as client:
        response = await get(client, b"x" * 50_000_000)
        assert (response.status, await response.read()) == (413, b"big")
        await asyncio.sleep(0.01)
        assert client.connections == 0


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with talking(echo) as server, client_of(server, Timeouts(keepalive_s=0.05)) as client:
        await ask(client)
        assert client.idle_connections == 1
        await asyncio.sleep(0.15)
        assert client.connections == 0


async def test_no_more_connections_than_allowed_and_first_come_first_served() -> None:
    order: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while True:
            body = (await peer.request()).partition(b"\r\n\r\n")[2]
            order.append(body)
            await asyncio.sleep(0.01)
            await peer.say(plain(body))

    async with talking(talk) as server, client_of(server, limits=ConnectionLimits(max_connections=2)) as client:
        bodies = [b"%d" % number for number in range(12)]
        assert await asyncio.gather(*(ask(client, body) for body in bodies)) == bodies
        assert sorted(order[:2]) == bodies[:2]  # on two connections at once
        assert order[2:] == bodies[2:]
        assert len(server.peers) == 2


async def test_waiting_too_long_for_a_connection_is_an_error_of_its_own() -> None:
    timeouts = Timeouts(queue_s=0.05, head_s=0.5)
    limits = ConnectionLimits(max_connections=1, max_queued=1)
    async with talking(lambda peer: peer.until_left()) as server, client_of(server, timeouts, limits) as client:
        busy = asyncio.create_task(ask(client))
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(ask(client))
        await asyncio.sleep(0.01)
        assert client.queued == 1
        with pytest.raises(PoolTimeout, match="already"):
            await ask(client)
        with pytest.raises(PoolTimeout, match="in time"):
            await waiting
        assert client.queued == 0
        busy.cancel()


async def test_a_lost_connection_gives_its_slot_to_the_next_waiter() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.02)
        if peer.number != 0:
            await peer.say(plain(b"x", b"Connection: close"))

    async with talking(talk) as server, client_of(server, limits=ConnectionLimits(max_connections=1)) as client:
        results = await asyncio.gather(*(ask(client) for _ in range(4)), return_exceptions=True)
        assert isinstance(results[0], ConnectionLostError)
        assert results[1:] == [b"x"] * 3
        assert len(server.peers) == 4


async def test_a_cancelled_waiter_releases_its_connection_slot() -> None:
    release = asyncio.Event()

    async def talk(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.say(plain(b"x"))

    async with talking(talk) as server, client_of(server, limits=ConnectionLimits(max_connections=1)) as client:
        tasks = [asyncio.create_task(ask(client)) for _ in range(6)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        tasks[3].cancel()
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [
            False,
            True,
            False,
            True,
            False,
            False,
        ]


async def test_a_connection_the_server_had_closed_is_replaced_once() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(plain(b"first"))
        await peer.request()  # take the second request, and close without a word
        if peer.number > 0:
            await peer.say(plain(b"second"))

    async with talking(talk) as server, client_of(server) as client:
        assert await ask(client) == b"first"
        assert await ask(client) == b"first"  # on a new connection
        assert len(server.peers) == 2


async def test_a_fresh_connection_that_dies_is_not_retried() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()

    async with talking(talk) as server, client_of(server) as client:
        with pytest.raises(ConnectionLostError):
            await ask(client)
        assert len(server.peers) == 1


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200"], ids=["late", "answer begun"])
async def test_a_request_that_may_have_been_worked_on_is_not_sent_twice(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "STALE_WINDOW_S", 0.05)

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(plain(b"first"))
        await peer.request()
        await peer.say(begin)
        await asyncio.sleep(0.01 if begin else 0.1)

    async with talking(talk) as server, client_of(server) as client:
        assert await ask(client) == b"first"
        with pytest.raises(ConnectionLostError):
            await ask(client)
        assert len(server.peers) == 1


async def test_a_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = HttpClient(Origin.parse(f"http://127.0.0.1:{port}"))
    with pytest.raises(ConnectError):
        await ask(client)
    assert client.connections == 0


async def test_closing_the_client_ends_everything() -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await peer.until_left()

    async with talking(talk) as server, client_of(server, limits=ConnectionLimits(max_connections=2)) as client:
        reading = await get(client)
        asking = asyncio.create_task(get(client))
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(get(client))
        await asyncio.sleep(0.02)
        await asyncio.gather(client.aclose(), client.aclose())
        assert client.connections == 0
        with pytest.raises(BodyBroken):
            await reading.read()
        for task in (asking, waiting):
            with pytest.raises(ClientClosedError):
                await task
        with pytest.raises(ClientClosedError):
            await get(client)
        await client.aclose()


async def test_failures_are_rendered_as_the_owner_wants() -> None:
    class OwnError(Exception):
        pass

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")

    async with talking(talk) as server:
        client = HttpClient(
            Origin.parse(f"http://127.0.0.1:{server.port}"), translate=lambda failure: OwnError(str(failure))
        )
        response = await get(client)
        with pytest.raises(OwnError, match="end of the body") as caught:
            await response.read()
        assert isinstance(caught.value.__cause__, BodyBroken)
        await client.aclose()
        with pytest.raises(OwnError, match="closed"):
            await get(client)


async def test_unix_domain_sockets(tmp_path: Path) -> None:
    def answer(exchange: ServerExchange) -> None:
        exchange.respond(200, ((b"x-host", dict(exchange.headers)[b"host"]),), exchange.body)

    server = await serve(answer, uds=str(tmp_path / "s"))
    client = HttpClient(Origin.parse(f"http+unix://{str(tmp_path / 's').replace('/', '%2F')}/v1"))
    response = await get(client, b"over a socket file")
    assert await response.read() == b"over a socket file"
    assert (b"x-host", b"localhost") in response.headers
    await client.aclose()
    server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 1 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost".split(),
        check=True,
        capture_output=True,
    )
    return certificate, key


async def test_tls_with_a_certificate_that_is_known_and_one_that_is_not(certificate: tuple[str, str]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(plain(b"secret"))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    origin = Origin.parse(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    trusting = HttpClient(origin, tls=ssl.create_default_context(cafile=certificate[0]))
    assert await ask(trusting) == b"secret"
    assert await ask(trusting) == b"secret"
    assert trusting.connections == 1
    await trusting.aclose()
    strict = HttpClient(origin)
    with pytest.raises(ConnectError, match="certificate"):
        await ask(strict)
    assert strict.connections == 0
    server.close()


async def test_a_server_that_never_completes_the_tls_handshake() -> None:
    async with talking(lambda peer: peer.until_left()) as server:
        # Reading the system's trust store may take longer than the time allowed here.
        tls = ssl.create_default_context()
        client = HttpClient(Origin.parse(f"https://127.0.0.1:{server.port}"), timeouts=Timeouts(connect_s=0.1), tls=tls)
        with pytest.raises(ConnectTimeout):
            await ask(client)
        assert client.connections == 0
        await asyncio.wait_for(server.peers[0].left.wait(), 2)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8000/v1", Origin("h", 8000, "/v1")),
        ("https://h", Origin("h", 443, "", tls=True)),
        ("http://[::1]:1/", Origin("::1", 1, "")),
        ("http+unix://%2Ftmp%2Fa.sock/v1/", Origin("", 0, "/v1", uds="/tmp/a.sock")),  # noqa: S108
    ],
)
def test_origins(url: str, expected: Origin) -> None:
    assert Origin.parse(url) == expected


@pytest.mark.parametrize(
    "url", ["", "h:80", "ftp://h", "http://", "http://u:p@h", "http://h/?q", "http://h/a b", "http+unix:///x"]
)
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ValueError):
        Origin.parse(url)


@pytest.mark.parametrize(("url", "host"), [("http://h", "h"), ("http://h:81", "h:81"), ("https://[::1]:8", "[::1]:8")])
def test_the_host_header(url: str, host: str) -> None:
    assert Origin.parse(url).authority == host


async def test_connection_slots_are_released_after_every_fault() -> None:
    """A server that does everything wrong at random, clients that leave at random: the books balance in the end."""
    chance = random.Random(7)

    async def talk(peer: Peer) -> None:
        while True:
            request = await peer.request()
            body = request.partition(b"\r\n\r\n")[2]
            await asyncio.sleep(chance.random() * 0.005)
            match chance.randrange(9):
                case 0:
                    return
                case 1:
                    await peer.say(plain(body)[:-1])
                    return
                case 2:
                    await peer.say(b"nonsense")
                    return
                case 3:
                    await peer.say(plain(body), b"surplus")
                case 4:
                    await peer.say(plain(body, b"connection: close"))
                    return
                case 5:
                    await peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    await peer.until_left()  # beyond the idle timeout
                    return
                case _:
                    await peer.say(plain(body))

    outcomes = {"whole": 0, "failed": 0, "left": 0}

    async def one(client: HttpClient, number: int, longest_s: float) -> None:
        body = b"%d" % number * 50
        patience_s = chance.random() * longest_s
        try:
            async with asyncio.timeout(patience_s):
                answered = await ask(client, body)
        except HttpFailure:
            outcomes["failed"] += 1
        except TimeoutError:
            outcomes["left"] += 1
        else:
            assert answered == body, "bytes of another request"
            outcomes["whole"] += 1

    async with talking(talk) as server:
        timeouts = Timeouts(queue_s=0.02, idle_s=0.02, head_s=0.5)
        async with client_of(server, timeouts, ConnectionLimits(max_connections=5)) as client:
            first, longest_s = 0, 0.03
            # On a busy machine nobody is answered in time: then patience grows.
            async with asyncio.timeout(120):
                while first < 800 or min(outcomes.values()) <= 20:
                    await asyncio.gather(*(one(client, first + number, longest_s) for number in range(40)))
                    assert client.connections <= 5
                    first, longest_s = first + 40, longest_s * 1.05
                while client.queued or client.connections != client.idle_connections:
                    await asyncio.sleep(0.01)
