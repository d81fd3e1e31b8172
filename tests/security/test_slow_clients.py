"""Clients that hold connections by sending next to nothing are cut off; those whose answer takes long are not."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.running import fake, running

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


async def test_a_slow_answer_and_a_quiet_connection_are_let_be() -> None:
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
