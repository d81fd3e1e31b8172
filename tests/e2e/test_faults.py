"""Experts that fail, clients that leave, a Redis that dies: what is seen from outside."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.e2e.running import Running, eventually, fake, running

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}


def two(**first: Any) -> dict[str, Any]:
    """A pool whose better expert follows a script, and a good one behind it."""
    return {
        "pool": {
            "experts": [
                fake("first", prior={"*": 0.9}, generalist=True, options=first),
                fake("second", prior={"*": 0.5}, options={"reply": "second"}),
            ]
        }
    }


async def post(gateway: Running, body: dict[str, Any], **options: Any) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{gateway.url}/v1/chat/completions", json=body, **options) as reply,
    ):
        return reply.status, reply.headers, await reply.read()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        {"fault": "error", "error_status": 500},
        {"fault": "error", "error_status": 503},
        {"fault": "error", "error_status": 429},
        {"fault": "error", "error_status": 401},
        {"fault": "refuse"},
    ],
)
async def test_before_the_first_byte_the_next_expert_answers(script: dict[str, Any], stream: bool) -> None:
    async with running(two(**script)) as gateway:
        status, headers, body = await post(gateway, {**CHAT, "stream": stream})
        assert (status, headers["x-pointsman-expert"]) == (200, "second")
        assert b"second" in body
        assert gateway.fake("first").stats.started == 1


async def test_an_answer_cut_short_that_is_not_streamed_goes_to_the_next_expert() -> None:
    async with running(two(fault="break")) as gateway:
        status, headers, body = await post(gateway, CHAT)
        assert (status, headers["x-pointsman-expert"]) == (200, "second")
        assert json.loads(body)["choices"]


async def test_a_broken_stream_ends_with_an_error_event_and_never_with_done() -> None:
    async with running(two(fault="break", fault_after_tokens=2, reply="one two three four")) as gateway:
        status, headers, body = await post(gateway, {**CHAT, "stream": True})
        assert (status, headers["x-pointsman-expert"]) == (200, "first")
        events = [event for event in body.split(b"\n\n") if event]
        assert b"[DONE]" not in body
        assert all(event.startswith(b"data: ") for event in events)
        assert json.loads(events[-1][6:])["error"]["code"] == "expert_stream_broken"
        assert gateway.fake("second").stats.started == 0


async def test_when_every_expert_fails_the_error_names_them() -> None:
    tree = two(fault="refuse")
    tree["pool"]["experts"][1]["options"] = {"fault": "refuse"}
    async with running(tree) as gateway:
        status, headers, body = await post(gateway, CHAT)
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (502, "expert_unavailable")
        assert "'second'" in error["message"]
        assert headers["x-pointsman-decision"]


async def test_a_named_model_has_no_fallback() -> None:
    async with running(two(fault="error", error_status=503)) as gateway:
        status, headers, _ = await post(gateway, {**CHAT, "model": "first"})
        assert (status, headers["x-pointsman-expert"]) == (503, "first")
        assert gateway.fake("second").stats.started == 0


async def test_an_expert_that_keeps_failing_is_left_out_for_a_while() -> None:
    async with running(two(fault="error")) as gateway:
        for _ in range(10):
            assert (await post(gateway, CHAT))[0] == 200
        assert gateway.fake("first").stats.started < 10
        _, _, body = await post(gateway, {**CHAT, "model": "auto"})
        assert b"second" in body


async def test_a_saturated_pool_is_a_503_with_retry_after() -> None:
    only = fake("only", max_concurrency=1, options={"ttft_ms": 2000})
    tree = {"pool": {"experts": [only]}, "admission": {"queue": 0}}
    async with running(tree) as gateway, aiohttp.ClientSession() as http:
        first = asyncio.create_task(post(gateway, CHAT))
        await eventually(lambda: gateway.fake("only").stats.started == 1)
        async with http.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as reply:
            error = (await reply.json())["error"]
            assert (reply.status, error["code"], error["reason"]) == (503, "pool_busy", "saturated")
            assert int(reply.headers["retry-after"]) >= 1
        first.cancel()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [{"ttft_ms": 5000}, {"tokens_per_s": 5, "completion_tokens": 100}])
async def test_a_client_that_leaves_takes_its_expert_with_it(stream: bool, script: dict[str, Any]) -> None:
    async with running(two(**script)) as gateway:
        request = asyncio.create_task(post(gateway, {**CHAT, "stream": stream}))
        await eventually(lambda: gateway.fake("first").stats.started == 1)
        await asyncio.sleep(0.05)
        request.cancel()
        began = asyncio.get_running_loop().time()
        await eventually(lambda: gateway.fake("first").stats.cancelled == 1)
        assert asyncio.get_running_loop().time() - began < 0.5
        states = {spec.name: state for spec, state in gateway.app.runtime.pool.snapshot().entries}
        await eventually(lambda: gateway.app.runtime.pool.snapshot().entries[0][1].in_flight == 0)
        # Leaving says nothing about the expert, and nobody else is asked.
        assert states["first"].healthy
        assert gateway.fake("second").stats.started == 0
        async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/metrics") as reply:
            assert "pointsman_client_disconnects_total 1.0" in await reply.text()


async def test_a_redis_that_is_not_there_costs_nothing() -> None:
    tree = {**two(reply="fine"), "redis": {"url": "redis://127.0.0.1:1/0"}}
    async with running(tree) as gateway:
        for number in range(20):
            body = {**CHAT, "messages": [{"role": "user", "content": f"question {number}"}]}
            status, headers, _ = await post(gateway, body)
            assert (status, headers["x-pointsman-cache"]) == (200, "miss")
        async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/ready") as reply:
            assert (reply.status, (await reply.json())["redis"]) == (200, "unreachable")


async def test_a_redis_that_never_answers_slows_a_request_by_its_deadline_at_most() -> None:
    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tree = {**two(reply="fine"), "redis": {"url": f"redis://127.0.0.1:{port}/0"}}
    async with server, running(tree) as gateway:
        began = asyncio.get_running_loop().time()
        for number in range(30):
            body = {**CHAT, "messages": [{"role": "user", "content": f"question {number}"}]}
            assert (await post(gateway, body))[0] == 200
        # Three deadlines of 5 ms open the breaker; thirty of redis-py's own would take half a minute.
        assert asyncio.get_running_loop().time() - began < 5
