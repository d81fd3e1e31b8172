"""Clients that hold connections by sending next to nothing are cut off; those whose answer takes long are not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from tests.e2e.running import TRANSPORTS, Running, Transport, eventually, fake, running
from tests.security.upstream import ENV, expert, saying

BODY = json.dumps({"model": "only", "messages": [{"role": "user", "content": "hello"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(BODY)


@pytest.mark.parametrize(
    "said",
    [b"", b"POST /v1/chat", POST, POST + b"\r\n" + BODY[:20], b"POST /v1/route HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"],
    ids=["nothing", "a line", "headers without end", "a body without end", "a body for the control plane"],
)
async def test_a_request_that_never_ends_is_cut_off(said: bytes) -> None:
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "server": {"request_timeout_s": 0.5}}
    async with running(tree) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)

        async def drip() -> None:
            # A byte of a header now and then does not help.
            while not said.endswith(b"}"):
                await asyncio.sleep(0.1)
                writer.write(b"a")

        dripping = asyncio.create_task(drip())
        began_s = asyncio.get_running_loop().time()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert asyncio.get_running_loop().time() - began_s < 2
        assert b"200 OK" not in answer
        assert answer.startswith(b"HTTP/1.1 408") is said.endswith(BODY[:20])
        dripping.cancel()
        writer.close()
        assert gateway.fake("only").stats.started == 0


async def test_slow_answers_and_idle_connections_are_not_closed() -> None:
    slow = fake("only", generalist=True, options={"reply": "ok", "ttft_ms": 1500})
    tree = {"pool": {"experts": [slow]}, "server": {"request_timeout_s": 0.5}}
    async with running(tree) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(2):
            writer.write(POST + b"\r\n" + BODY)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(1.0)
        writer.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("drip", [0, 512], ids=["nothing", "next to nothing"])
async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(transport: Transport, drip: int) -> None:
    """Its expert's place, which it would hold for ever, is free again."""
    said = b'data: {"choices":[]}\n\n' * 400_000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(said)
    body = BODY.replace(b"only", b"outer")[:-1] + b', "stream": true}'
    async with saying(head + said) as heard:
        pool = {"experts": [expert(heard, max_concurrency=1)], "probe_interval_s": 0}
        tree = {"pool": pool, "server": {"idle_timeout_s": 0.5}, "admission": {"queue": 0}}
        async with running(tree, ENV, transport=transport) as gateway:
            await _take_nothing(gateway, body, drip)


async def _take_nothing(gateway: Running, body: bytes, drip: int) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(client.connect, (host, int(port)))
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    client.setblocking(False)
    await eventually(lambda: gateway.app.runtime.pool.in_flight()["outer"] == 1)
    async with asyncio.timeout(8):
        while gateway.app.runtime.pool.in_flight()["outer"]:
            await asyncio.sleep(0.1)
            with contextlib.suppress(OSError):
                client.recv(drip)
    assert gateway.app.plane.idle
    client.close()
