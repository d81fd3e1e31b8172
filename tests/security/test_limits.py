"""What is too large is refused while it comes, and what stands behind a body is no header."""

from __future__ import annotations

import asyncio
import json

import pytest

from pointsman.gateway.http.protocol import MAX_HEAD_BYTES
from tests.e2e.running import Running, fake, running

BODY = json.dumps({"model": "only", "messages": [{"role": "user", "content": "hello"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
#: What one read of the loop may bring, beside the limit.
ONE_READ = 256 * 1024
ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbbbbbb"}
AUTH = {"keys": [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]}


async def endless(gateway: Running, begin: bytes, more: bytes) -> tuple[bytes, int]:
    """Say `more` for as long as the gateway listens: what it answers, and how much it took."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = asyncio.create_task(reader.read())
    sent = 0
    try:
        async with asyncio.timeout(10):
            writer.write(begin)
            while not answer.done():
                writer.write(more)
                sent += len(more)
                await writer.drain()
                await asyncio.sleep(0)
    except ConnectionError:
        pass
    finally:
        writer.close()
    try:
        return await answer, sent
    except ConnectionError:
        return b"", sent


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a" * 4096),
        (b"GET /health?", b"&a=b" * 1024),
        (b"GET /health HTTP/1.1\r\nx-a: ", b"a" * 4096),
        (b"GET /health HTTP/1.1\r\n", b"x-a: b\r\n" * 512),
        (POST, b"x-a: b\r\n" * 512),
        (CHUNKED + b"1\r\n{\r\n0\r\n", b"x-a: b\r\n" * 512),
        (CHUNKED + b"1;", b"a=b;" * 1024),
    ],
    ids=["path", "query", "one header", "many headers", "headers of an exchange", "trailers", "chunk extension"],
)
async def test_a_head_without_end_is_cut_off(begin: bytes, more: bytes) -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        answer, sent = await endless(gateway, begin, more)
        # Both sockets have buffers of their own, which may be full when the gateway closes.
        assert sent <= 64 * (MAX_HEAD_BYTES + ONE_READ), sent
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), answer[:100]
        assert gateway.fake("only").stats.started == 0


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/route"])
async def test_a_long_body_is_no_long_head(path: bytes) -> None:
    """In small chunks, whose framing is longer than their content."""
    padded = json.dumps({"messages": [{"role": "user", "content": "hello " * 5000}], "model": "only"}).encode()
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in padded)
    assert len(chunks) > 3 * MAX_HEAD_BYTES
    pool = [fake("only", generalist=True, context_window_tokens=100_000)]
    async with running({"pool": {"experts": pool}}) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" % path)
        writer.write(b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/models"])
async def test_a_trailer_is_no_header(path: bytes) -> None:
    """Whoever checks the head in front of the gateway never sees a key that comes behind the body."""
    tree = {"pool": {"experts": [fake("only", generalist=True)]}, "auth": AUTH}
    method = b"GET" if path.endswith(b"models") else b"POST"
    head = b"%b %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % (method, path)
    async with running(tree, ENV) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        key = b"authorization: Bearer " + ENV["KEY_A"].encode()
        writer.write(head + b"%x\r\n%b\r\n0\r\n%b\r\nconnection: close\r\n\r\n" % (len(BODY), BODY, key))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 401"), answer
        assert gateway.fake("only").stats.started == 0
