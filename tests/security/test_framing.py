"""Requests framed so that two readers could disagree: refused, and the connection closed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.running import Running, fake, running

BODY = json.dumps({"model": "only", "messages": [{"role": "user", "content": "hello"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


async def answers(gateway: Running, said: bytes) -> bytes:
    """Everything that comes back until the gateway closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


LENGTH = b"content-length: %d\r\n" % len(BODY)


@pytest.mark.parametrize(
    "said",
    [
        POST + LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"content-length: 5\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
        POST + b"content-length: +%d\r\n\r\n" % len(BODY) + BODY + SMUGGLED,
        POST + b"content-length: 0x10\r\n\r\n" + BODY + SMUGGLED,
        POST + b"content-length : %d\r\n\r\n" % len(BODY) + BODY + SMUGGLED,
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + BODY + SMUGGLED,
        POST + b"x-a: b\r\n folded: c\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
        POST + b"x-a: b\x00c\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
        b"\x16\x03\x01 not http at all\r\n\r\n",
    ],
    ids=[
        "length and chunks", "two lengths", "signed length", "hex length", "space before colon", "chunked not last",
        "no chunk size", "folded header", "NUL in a header", "TLS",
    ],
)  # fmt: skip
async def test_what_two_readers_could_read_differently_is_refused(said: bytes) -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        found = await answers(gateway, said)
        assert found.startswith(b"HTTP/1.1 400"), found[:200]
        assert found.count(b"HTTP/1.1 ") == 1, "nothing behind it is answered"
        assert gateway.fake("only").stats.started == 0


async def test_a_bodys_length_is_what_it_says() -> None:
    """What comes behind a complete body is the next request, and an incomplete one never reaches an expert."""
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        close = SMUGGLED.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n")
        found = await answers(gateway, POST + LENGTH + b"\r\n" + BODY + close)
        assert found.count(b"HTTP/1.1 200") == 2
        host, port = gateway.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(POST + LENGTH + b"\r\n" + BODY[:-1])
        await asyncio.sleep(0.2)
        writer.close()
        await asyncio.sleep(0.1)
        assert gateway.fake("only").stats.started == 1
