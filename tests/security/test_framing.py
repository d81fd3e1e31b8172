"""Requests framed so that two readers could disagree: refused, and the connection closed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.running import Running, fake, running

BODY = json.dumps({"model": "only", "messages": [{"role": "user", "content": "hello"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


async def answers(gateway: Running, *packets: bytes) -> bytes:
    """Everything that comes back until the gateway closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.01)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


LENGTH = b"content-length: %d\r\n" % len(BODY)


DISPUTED = {
    "length and chunks": POST + LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"content-length: 5\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
    "signed length": POST + b"content-length: +%d\r\n\r\n" % len(BODY) + BODY + SMUGGLED,
    "hex length": POST + b"content-length: 0x10\r\n\r\n" + BODY + SMUGGLED,
    "space before colon": POST + b"content-length : %d\r\n\r\n" % len(BODY) + BODY + SMUGGLED,
    "chunked not last": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "no chunk size": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + BODY + SMUGGLED,
    "folded header": POST + b"x-a: b\r\n folded: c\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
    "NUL in a header": POST + b"x-a: b\x00c\r\n" + LENGTH + b"\r\n" + BODY + SMUGGLED,
    "TLS": b"\x16\x03\x01 not http at all\r\n\r\n",
}


@pytest.mark.parametrize("said", DISPUTED.values(), ids=DISPUTED)
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


@pytest.mark.parametrize("said", [one for name, one in DISPUTED.items() if name != "TLS"], ids=[*DISPUTED][:-1])
async def test_what_is_disputed_is_refused_in_whatever_two_packets_it_comes(said: bytes) -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        for at in range(1, len(said) - len(SMUGGLED), 9):
            found = await answers(gateway, said[:at], said[at:])
            assert found.startswith(b"HTTP/1.1 400"), (at, found[:200])
            assert found.count(b"HTTP/1.1 ") == 1, at
        assert gateway.fake("only").stats.started == 0


OFFER = b"connection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages", b"/v1/feedback", b"/health", b"/nowhere"])
async def test_the_body_of_a_request_that_offers_another_protocol_is_no_request(path: bytes) -> None:
    head = POST.replace(b"/v1/chat/completions", path) + OFFER + b"content-length: %d\r\n\r\n" % len(SMUGGLED)
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        for packets in ((head + SMUGGLED,), (head, SMUGGLED), (head[:70], head[70:] + SMUGGLED[:9], SMUGGLED[9:])):
            found = await answers(gateway, *packets)
            assert found.count(b"HTTP/1.1 ") == 1, found
            assert b'"object":"list"' not in found
        assert gateway.fake("only").stats.started == 0


@pytest.mark.parametrize("framing", [LENGTH, b"transfer-encoding: chunked\r\n"], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", [OFFER, b"upgrade: websocket\r\n" + OFFER], ids=["h2c", "two"])
async def test_an_offer_of_another_protocol_is_ignored(framing: bytes, offer: bytes) -> None:
    """RFC 9110, section 7.8. Java's client makes one with its first request, whatever it sends."""
    body = BODY if framing is LENGTH else b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    said = POST + offer + framing + b"\r\n" + body
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        cuts = [*range(1, len(said), 23)]
        for at in cuts:
            found = await answers(gateway, said[:at], said[at:])
            assert found.startswith(b"HTTP/1.1 200"), (at, found[:200])
        # Behind one another in one packet, each is a request.
        kept = said.replace(b", close", b"")
        assert (await answers(gateway, kept + kept + said)).count(b"HTTP/1.1 200") == 3
        assert gateway.fake("only").stats.started == len(cuts) + 3


async def test_a_tunnel_is_refused() -> None:
    async with running({"pool": {"experts": [fake("only", generalist=True)]}}) as gateway:
        found = await answers(gateway, b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n" + SMUGGLED)
        assert found.startswith(b"HTTP/1.1 400")
        assert found.count(b"HTTP/1.1 ") == 1
