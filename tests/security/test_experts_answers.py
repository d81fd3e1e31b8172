"""An expert that went bad harms one answer at most: neither the client's connection nor the gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest

from pointsman.gateway.dispatch.answer import RelayedAnswer
from pointsman.gateway.http.protocol import MAX_HEAD_BYTES
from tests.e2e.running import TRANSPORTS, Running, Transport, eventually, running
from tests.security.upstream import ENV, OK, Heard, expert, saying

EVENTS = b'data: {"id":"1","model":"inner","choices":[],"usage":%b}\n\ndata: [DONE]\n\n'


def tree(heard: Heard) -> dict[str, Any]:
    return {"pool": {"experts": [expert(heard)], "probe_interval_s": 0}, "server": {"expert_idle_timeout_s": 1}}


async def exchanged(gateway: Running, **fields: Any) -> bytes:
    """A chat and all that comes back, byte for byte, until the gateway closes."""
    body = json.dumps({"model": "outer", "messages": [{"role": "user", "content": "hello"}], **fields}).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "header",
    [
        b"x-request-id: a\r\n set-cookie: stolen=1",
        b"x-request-id: a\rset-cookie: stolen=1",
        b"x-request-id: a\nset-cookie: stolen=1",
        b"x-request-id: a\x00set-cookie: stolen=1",
        b"content-type: application/json\r\n\r\n<script>",
        b"x-ratelimit-a\r\nset-cookie: stolen=1",
        b"x-ratelimit-\xff: a",
        b"retry-after: 1%0d%0aset-cookie:%20stolen=1",
        b"x-request-id: \xe5\x98\x8a\xe5\x98\x8dset-cookie: stolen=1",
    ],
    ids=["folded", "CR", "LF", "NUL", "blank line", "no colon", "odd name", "escaped", "wide CR LF"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_experts_header_splits_no_response(header: bytes, stream: bool) -> None:
    kind = b"text/event-stream" if stream else b"application/json"
    body = EVENTS % b"null" if stream else OK
    said = b"HTTP/1.1 200 OK\r\n%b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        header,
        kind,
        len(body),
        body,
    )
    async with saying(said) as heard, running(tree(heard), ENV) as gateway:
        answer = await exchanged(gateway, stream=stream)
        assert answer.count(b"HTTP/1.1 ") == 1
        head = answer.partition(b"\r\n\r\n")[0]
        lines = head.split(b"\r\n")
        assert all(b"\r" not in line and b"\n" not in line and b"\0" not in line for line in lines)
        assert not any(line.lower().startswith(b"set-cookie") for line in lines), head
        assert all(b":" in line for line in lines[1:])
        # The next request is served as if nothing had been.
        assert (await exchanged(gateway)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-a: " + b"a" * (2 * MAX_HEAD_BYTES) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 000 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
    ids=[
        "long head",
        "two lengths",
        "length and chunks",
        "endless chunk",
        "999",
        "000",
        "upgrade",
        "HTTP/2",
        "no HTTP",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_no_answer_is_one_error_of_ours(said: bytes, stream: bool) -> None:
    async with saying(said) as heard, running(tree(heard), ENV) as gateway:
        answer = await exchanged(gateway, stream=stream)
        assert answer.startswith(b"HTTP/1.1 50"), answer[:200]
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b'"error"' in answer
        assert not answer.startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize("usage", [b'{"prompt_tokens":-5,"completion_tokens":3}', b'{"prompt_tokens":1e308}', b"[]"])
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_makes_no_sense_harms_no_metric(usage: bytes, stream: bool) -> None:
    body = EVENTS % usage if stream else OK[:-1] + b',"usage":%b}' % usage
    kind = b"text/event-stream" if stream else b"application/json"
    said = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)
    async with saying(said) as heard, running(tree(heard), ENV) as gateway, aiohttp.ClientSession(gateway.url) as http:
        answer = await exchanged(gateway, stream=stream)
        assert answer.startswith(b"HTTP/1.1 200")
        async with http.get("/metrics") as reply:
            assert reply.status == 200
            assert 'pointsman_requests_total{endpoint="chat/completions",expert="outer",status="200"} 1.0' in (
                await reply.text()
            )


async def test_a_compressed_answer_is_passed_on_and_never_inflated() -> None:
    """Nobody asked for it (`accept-encoding: identity`), and a gigabyte of zeros is a megabyte of gzip."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024), 9)
    said = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
    )
    async with saying(said % (len(bomb), bomb)) as heard, running(tree(heard), ENV) as gateway:
        answer = await exchanged(gateway)
        assert b"accept-encoding: identity" in heard.requests[0].lower()
        assert len(answer) < 2 * len(bomb)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_deeply_nested_event_releases_its_concurrency_slot(transport: Transport) -> None:
    """For callers with limits the text of events is counted, however it is nested."""
    deep = b'data: {"choices":' + b"[" * 900 + b'"a"' + b"]" * 900 + b"}\n\n"
    said = deep + EVENTS % b"null"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(said)
    async with saying(head + said) as heard:
        settings = tree(heard)
        settings["pool"]["experts"][0]["max_concurrency"] = 1
        settings["admission"] = {"queue": 0}
        settings["auth"] = {"keys": [{"name": "a", "key_env": "KEY_A", "limits": {"tokens_per_minute": 1_000_000}}]}
        env = {**ENV, "KEY_A": "sk-aaaaaaaaaaaaaaaa"}
        async with running(settings, env, transport=transport) as gateway, aiohttp.ClientSession() as http:
            for _ in range(3):
                body = {"model": "outer", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
                url, bearer = f"{gateway.url}/v1/chat/completions", {"authorization": "Bearer sk-aaaaaaaaaaaaaaaa"}
                async with http.post(url, json=body, headers=bearer) as reply:
                    assert reply.status == 200, await reply.text()
                    assert (await reply.read()).endswith(b"data: [DONE]\n\n")
                await eventually(lambda: gateway.app.runtime.pool.in_flight()["outer"] == 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_internal_error_ends_the_answer_and_releases_its_concurrency_slot(
    monkeypatch: pytest.MonkeyPatch, transport: Transport, stream: bool
) -> None:
    def fail(*_: Any) -> None:
        raise RecursionError("a bug in here")

    said = EVENTS % b"null" if stream else OK
    kind = b"text/event-stream" if stream else b"application/json"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(said))
    async with saying(head + said) as heard, running(tree(heard), ENV, transport=transport) as gateway:
        monkeypatch.setattr(RelayedAnswer, "feed" if stream else "_account_for", fail)
        body = {"model": "outer", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
        async with aiohttp.ClientSession() as http, http.post(f"{gateway.url}/v1/chat/completions", json=body) as reply:
            answer = await reply.text()
            assert reply.status == (200 if stream else 500)
            assert "internal_error" in answer
            assert "[DONE]" not in answer
        await eventually(lambda: gateway.app.idle and gateway.app.runtime.pool.in_flight()["outer"] == 0)
