"""Both transports do the same: every case runs on uvicorn's protocol and on ASGI, with real HTTP experts behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.e2e.counting import Counting, counting, once_each, undecided
from tests.e2e.running import Running, Transport, both, eventually, running
from tests.unit.experts.raw_server import Peer, Server, talking

Answering = Callable[[Peer, bytes], Awaitable[None]]

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "model": "inner",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        "unknown": {"kept": [1.50]},
    }
).encode()
CHUNK = b'data: {"id":"1","model":"inner","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
USAGE = b'data: {"id":"1","model":"inner","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-inner: 1\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def streamed(*pieces: bytes) -> bytes:
    return stream_head() + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"


def expert(name: str, server: Server, prior: float) -> dict[str, Any]:
    return {
        "name": name,
        "backend": "openai_http",
        "model": "inner",
        "base_url": f"http://127.0.0.1:{server.port}",
        "quality_prior": {"*": prior},
        "generalist": True,
    }


async def post(gateway: Running, body: dict[str, Any], **options: Any) -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}/v1/chat/completions", json=body, **options) as reply,
    ):
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return reply.status, headers, await reply.read()


@dataclass
class Gateway:
    """A gateway over two experts, with an idle connection to each."""

    running: Running
    first: Server
    second: Server
    #: What it counted since both have a connection.
    counted: Counting

    async def post(self, body: dict[str, Any], **options: Any) -> tuple[int, dict[str, str], bytes]:
        return await post(self.running, body, **options)

    async def counted_once(self, status: int = 200, **differing: int | dict[str, int]) -> None:
        """Check that one request since was parsed, authorised, decided and recorded once; asks the gateway nothing."""
        await self.counted.come_to(once_each(1, status, **differing))

    async def outcome(self, headers: dict[str, str]) -> dict[str, Any]:
        async with aiohttp.ClientSession() as http:
            url = f"{self.running.url}/v1/decisions/{headers['x-pointsman-decision']}"
            async with http.get(url) as reply:
                record: dict[str, Any] = await reply.json()
        found: dict[str, Any] = record["outcome"]
        return found


def chat(model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello there"}], **more}


@asynccontextmanager
async def gateway_of(answering: Answering, *, transport: Transport, **settings: Any) -> AsyncIterator[Gateway]:
    """`answering` is what the first expert does from its second request on; the second expert always answers."""
    asked = 0

    async def first(peer: Peer) -> None:
        nonlocal asked
        while True:
            request = await peer.request()
            asked += 1
            if asked == 1:
                await peer.say(whole(ANSWER))
            else:
                await answering(peer, request)

    async def second(peer: Peer) -> None:
        while True:
            request = await peer.request()
            asks_stream = json.loads(request.partition(b"\r\n\r\n")[2]).get("stream")
            await peer.say(streamed(CHUNK % b"second", DONE) if asks_stream else whole(ANSWER))

    async with talking(first) as one, talking(second) as two:
        pool = {"experts": [expert("first", one, 0.9), expert("second", two, 0.5)], "probe_interval_s": 0}
        async with running({"pool": pool, **settings}, transport=transport) as served:
            for name in ("first", "second"):
                assert (await post(served, chat(name)))[0] == 200
            with counting(served) as counted:
                yield Gateway(served, one, two, counted)


@both
@pytest.mark.parametrize("model", ["auto", "first"])
async def test_a_whole_answer(transport: Transport, model: str) -> None:
    ids: list[str] = []

    async def answering(peer: Peer, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        assert json.loads(body) == chat("inner", custom=[1])
        assert b"cookie" not in head.lower()
        assert b"traceparent: 00-1" in head
        ids.append(head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode())
        await peer.say(whole(ANSWER))

    async with gateway_of(answering, transport=transport) as gateway:
        sent = {"traceparent": "00-1", "cookie": "a=b"}
        status, headers, body = await gateway.post(chat(model, custom=[1]), headers=sent)
        assert status == 200
        assert body == ANSWER.replace(b'"inner"', b'"first"')
        assert headers["x-pointsman-expert"] == "first"
        assert headers["content-type"] == "application/json"
        assert "x-inner" not in headers
        assert ids == [headers["x-pointsman-decision"]], "both sides log the same id"
        assert int(headers["content-length"]) == len(body)
        await gateway.counted_once()
        outcome = await gateway.outcome(headers)
        assert (outcome["status"], outcome["prompt_tokens"], outcome["completion_tokens"]) == (200, 7, 2)


@both
async def test_a_stream_passes_byte_for_byte_in_pieces(transport: Transport) -> None:
    first, rest = CHUNK % "grüß".encode(), (CHUNK % b"two") + b": a comment\n\n" + USAGE + DONE
    gate = asyncio.Event()

    async def answering(peer: Peer, request: bytes) -> None:
        # Cut within a character and within an event.
        await peer.say(stream_head() + chunk(first + rest[:20]))
        await gate.wait()
        await peer.say(chunk(rest[20:45]), chunk(rest[45:]), b"0\r\n\r\n")

    async with gateway_of(answering, transport=transport) as gateway, aiohttp.ClientSession() as http:
        url = f"{gateway.running.url}/v1/chat/completions"
        async with http.post(url, json=chat(stream=True)) as reply:
            assert reply.headers["content-type"] == "text/event-stream"
            assert reply.headers["cache-control"] == "no-cache"
            named = first.replace(b'"inner"', b'"first"')
            assert await reply.content.readexactly(len(named)) == named, "what is whole passes at once"
            gate.set()
            assert await reply.read() == rest.replace(b'"inner"', b'"first"')
            headers = {name.lower(): value for name, value in reply.headers.items()}
        await gateway.counted_once()
        outcome = await gateway.outcome(headers)
        assert (outcome["status"], outcome["completion_tokens"]) == (200, 2)
        assert outcome["ttft_ms"] < outcome["latency_ms"]


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        whole(b"{}", b"503 Service Unavailable"),
        whole(b"{}", b"429 Too Many Requests"),
        whole(b"{}", b"401 Unauthorized"),
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    ],
    ids=["503", "429", "401", "no http", "cut short"],
)
async def test_before_the_first_byte_the_next_expert_answers(transport: Transport, stream: bool, fault: bytes) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(fault)
        peer.writer.close()

    async with gateway_of(answering, transport=transport) as gateway:
        status, headers, body = await gateway.post(chat(stream=stream))
        assert (status, headers["x-pointsman-expert"]) == (200, "second")
        assert (DONE in body) is stream
        await gateway.counted_once(fallbacks=1, retries_and_races=1)
        assert (await gateway.outcome(headers))["expert"] == "second"
        for state in gateway.running.app.runtime.pool.snapshot().entries:
            assert state[1].in_flight == 0


@both
async def test_a_connection_that_had_been_closed_is_replaced(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        if peer.number == 0:
            peer.writer.close()
        else:
            await peer.say(whole(ANSWER))

    async with gateway_of(answering, transport=transport) as gateway:
        status, headers, _ = await gateway.post(chat())
        assert (status, headers["x-pointsman-expert"]) == (200, "first")
        counts = gateway.running.app.runtime.pool.counts("first")
        assert (counts.succeeded, counts.failed) == (2, 0)
        await gateway.counted_once()


@both
async def test_a_client_error_passes_as_it_is(transport: Transport) -> None:
    error = b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":null}}'

    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(whole(error, b"400 Bad Request"))

    async with gateway_of(answering, transport=transport) as gateway:
        status, headers, body = await gateway.post(chat(stream=True))
        assert (status, body, headers["x-pointsman-expert"]) == (400, error, "first")
        await gateway.counted_once(400)


@both
async def test_a_last_expert_that_refuses_the_gateway_is_not_shown(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(whole(b'{"error": "bad key sk-secret"}', b"401 Unauthorized"))

    async with gateway_of(answering, transport=transport) as gateway:
        status, headers, body = await gateway.post(chat("first"))
        assert status == 502
        assert json.loads(body)["error"]["code"] == "expert_bad_answer"
        assert b"secret" not in body
        await gateway.counted_once(502, refusals={"expert_bad_answer": 1})
        assert (await gateway.outcome(headers))["status"] == 502


@both
@pytest.mark.parametrize("clean", [True, False], ids=["cut", "garbage"])
async def test_a_broken_stream_ends_with_an_error_event(transport: Transport, clean: bool) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(stream_head() + chunk(CHUNK % b"one") + chunk(b'data: {"half'))
        if not clean:
            await asyncio.sleep(0.05)
            await peer.say(b"zz\r\n")
        peer.writer.close()

    async with gateway_of(answering, transport=transport) as gateway:
        status, headers, body = await gateway.post(chat(stream=True))
        events = body.split(b"\n\n")
        assert status == 200
        assert b"[DONE]" not in body
        assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == "expert_stream_broken"
        await gateway.counted_once(502)
        assert (await gateway.outcome(headers))["status"] == 502


@both
@pytest.mark.parametrize("begun", [True, False], ids=["in the stream", "before the head"])
async def test_a_client_that_leaves_cancels_the_expert(transport: Transport, begun: bool) -> None:
    left = asyncio.Event()
    asked = asyncio.Event()

    async def answering(peer: Peer, request: bytes) -> None:
        asked.set()
        if begun:
            await peer.say(stream_head() + chunk(CHUNK % b"one"))
        await peer.until_left()
        left.set()

    async with gateway_of(answering, transport=transport) as gateway:
        call = asyncio.create_task(gateway.post(chat(stream=True)))
        await asked.wait()
        await asyncio.sleep(0.05)
        call.cancel()
        began_s = asyncio.get_running_loop().time()
        await asyncio.wait_for(left.wait(), 2)
        assert asyncio.get_running_loop().time() - began_s < 0.1
        pool = gateway.running.app.runtime.pool
        await eventually(lambda: all(state.in_flight == 0 for _, state in pool.snapshot().entries))
        assert pool.counts("first").cancelled == 1
        await gateway.counted_once(499, disconnects=1)


@both
async def test_a_slow_client_holds_the_expert_back(transport: Transport) -> None:
    sent = 0
    event = CHUNK % (b"x" * 60_000)

    async def answering(peer: Peer, request: bytes) -> None:
        nonlocal sent
        await peer.say(stream_head())
        for _ in range(1000):
            await peer.say(chunk(event))
            sent += 1
        await peer.say(chunk(DONE) + b"0\r\n\r\n")

    async with gateway_of(answering, transport=transport) as gateway:
        body = json.dumps(chat(stream=True)).encode()
        host, port = gateway.running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await asyncio.sleep(1.0)
        stalled = sent
        assert stalled < 500, "60 MB are on their way to nobody"
        await asyncio.sleep(0.3)
        assert sent - stalled < 20
        size = 0
        while not (data := await reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
            size += len(data)
        assert size > 1000 * 60_000
        writer.close()
        await gateway.counted_once()


@both
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}', "model_not_found"),
        (b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "routing": {"max_cost_usd": -1}}', None),
    ],
)
async def test_a_refusal_reads_the_same(transport: Transport, body: bytes, code: str | None) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        raise AssertionError("nobody is asked")

    async with gateway_of(answering, transport=transport) as gateway, aiohttp.ClientSession() as http:
        url = f"{gateway.running.url}/v1/chat/completions"
        async with http.post(url, data=body, headers={"content-type": "application/json"}) as reply:
            error = (await reply.json())["error"]
            assert reply.status in (400, 404)
            assert error["code"] == (code or "invalid_budget")
        await gateway.counted.come_to(undecided(1, refusals={error["code"]: 1}))


@both
async def test_requests_sent_behind_one_another_are_answered_in_order(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        text = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"]
        await asyncio.sleep(0.2 if text == "slow" else 0)
        await peer.say(whole(json.dumps({"id": text}).encode()))

    async with gateway_of(answering, transport=transport) as gateway:
        host, port = gateway.running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        said = b""
        for text in ("slow", "quick", "last"):
            body = json.dumps({"model": "first", "messages": [{"role": "user", "content": text}]}).encode()
            close = b"connection: close\r\n" if text == "last" else b""
            said += b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (
                close,
                len(body),
                body,
            )
        writer.write(said)
        answers = await asyncio.wait_for(reader.read(-1), 5)
        assert answers.count(b"HTTP/1.1 200 OK") == 3
        assert answers.index(b'"slow"') < answers.index(b'"quick"') < answers.index(b'"last"')
        writer.close()


@both
async def test_a_request_handed_over_half_way_comes_before_those_behind_it(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await asyncio.sleep(0.1)
        await peer.say(whole(b"{}", b"503 Service Unavailable"))

    async with gateway_of(answering, transport=transport) as gateway:
        host, port = gateway.running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(chat()).encode()
        post = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        writer.write(post + b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(-1), 5)
        assert answers.count(b"HTTP/1.1 200 OK") == 2
        assert b"x-pointsman-expert: second" in answers.partition(b"HTTP/1.1 200 OK\r\n")[2].partition(b"HTTP/1.1")[0]
        writer.close()


@both
@pytest.mark.parametrize(
    "odd",
    [b"expect: 100-continue\r\n", b"transfer-encoding: chunked\r\n", b"content-encoding: lzma\r\n"],
    ids=["expect", "chunked", "brotli"],
)
async def test_odd_framing(transport: Transport, odd: bytes) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        await peer.say(whole(ANSWER))

    async with gateway_of(answering, transport=transport) as gateway:
        host, port = gateway.running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(chat()).encode()
        chunked = b"chunked" in odd
        length = b"" if chunked else b"content-length: %d\r\n" % len(body)
        said = chunk(body) + b"0\r\n\r\n" if chunked else body
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%b%b\r\n%b" % (length, odd, said)
        )
        answer = await asyncio.wait_for(reader.read(-1), 5)
        assert (
            answer.split(b"\r\n")[0]
            == {
                b"expect: 100-continue\r\n": b"HTTP/1.1 100 Continue",
                b"transfer-encoding: chunked\r\n": b"HTTP/1.1 200 OK",
                b"content-encoding: lzma\r\n": b"HTTP/1.1 415 Unsupported Media Type",
            }[odd]
        )
        writer.close()


@both
async def test_a_body_over_the_limit_is_refused(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        raise AssertionError("nobody is asked")

    async with gateway_of(answering, transport=transport, server={"max_body_bytes": 100_000}) as gateway:
        status, _, body = await gateway.post(chat(padding="x" * 200_000))
        assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


@both
async def test_a_clients_own_request_id_travels_on(transport: Transport) -> None:
    async def answering(peer: Peer, request: bytes) -> None:
        assert request.lower().count(b"x-request-id:") == 1
        assert b"x-request-id: mine" in request
        await peer.say(whole(ANSWER))

    async with gateway_of(answering, transport=transport) as gateway:
        assert (await gateway.post(chat(), headers={"x-request-id": "mine"}))[0] == 200
