"""The OpenAI-compatible backend in front of real vLLM servers, beside the same questions asked without it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pointsman.experts.backends.openai_http import OpenAIHttpExpert
from pointsman.experts.protocols import TEXT_ENDPOINTS, Endpoint, ExpertCall
from pointsman.experts.spec import ExpertSpec
from tests.integration.vllm.conftest import DENSE, MIXTURE
from tests.integration.vllm.reading import streamed, timeless
from tests.integration.vllm.servers import Server

pytestmark = pytest.mark.parametrize("name", [DENSE, MIXTURE])

ASKED = {
    Endpoint.CHAT: {"messages": [{"role": "user", "content": "What is 12 + 7? Explain."}]},
    Endpoint.COMPLETIONS: {"prompt": "The sum of 12 and 7 is"},
}


@pytest.fixture
def server(name: str, vllm_servers: dict[str, Server]) -> Server:
    return vllm_servers[name]


@pytest.fixture
async def expert(server: Server) -> AsyncIterator[OpenAIHttpExpert]:
    expert = OpenAIHttpExpert(ExpertSpec(server.name, "openai_http", server.name), server.url)
    yield expert
    await expert.aclose()


def fields(server: Server, endpoint: Endpoint, **further: Any) -> dict[str, Any]:
    return {"model": server.name, "temperature": 0, "max_tokens": 24, "ignore_eos": True, **ASKED[endpoint], **further}


async def ask(expert: OpenAIHttpExpert, endpoint: Endpoint, payload: dict[str, Any]) -> tuple[int, bytes]:
    body = json.dumps(payload).encode()
    reply = await expert.call(ExpertCall("r", endpoint, body, payload, bool(payload.get("stream"))))
    return reply.status, await reply.read()


async def test_it_is_well(expert: OpenAIHttpExpert) -> None:
    assert await expert.probe() is None


@pytest.mark.parametrize("endpoint", TEXT_ENDPOINTS)
async def test_the_answer_is_the_servers_own(expert: OpenAIHttpExpert, server: Server, endpoint: Endpoint) -> None:
    asked = fields(server, endpoint)
    status, body = await ask(expert, endpoint, asked)
    direct = server.ask("POST", f"/v1/{endpoint}", asked)
    assert status == direct.status == 200
    assert timeless(body) == timeless(direct.body)
    assert json.loads(body)["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("endpoint", TEXT_ENDPOINTS)
async def test_the_stream_is_the_servers_own(expert: OpenAIHttpExpert, server: Server, endpoint: Endpoint) -> None:
    asked = fields(server, endpoint, stream=True, stream_options={"include_usage": True})
    status, body = await ask(expert, endpoint, asked)
    direct = server.ask("POST", f"/v1/{endpoint}", asked)
    assert status == direct.status == 200
    assert streamed(body) == streamed(direct.body)
    usage = streamed(body).usage
    assert usage is not None
    assert usage["completion_tokens"] > 0


async def test_its_refusals_come_through(expert: OpenAIHttpExpert, server: Server) -> None:
    for asked, expected in (
        ({**fields(server, Endpoint.CHAT), "model": "nobody"}, 404),
        (fields(server, Endpoint.CHAT, max_tokens=100_000), 400),
        ({"model": server.name}, 400),
    ):
        status, body = await ask(expert, Endpoint.CHAT, asked)
        assert status == server.ask("POST", "/v1/chat/completions", asked).status == expected
        assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_stops_the_generation(expert: OpenAIHttpExpert, server: Server, stream: bool) -> None:
    asked = fields(server, Endpoint.CHAT, max_tokens=900, stream=stream)
    tasks = [asyncio.create_task(ask(expert, Endpoint.CHAT, asked)) for _ in range(8)]
    await _until(server, lambda running: running == len(tasks), 20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks), "finished before they could be left: make them longer"
    await _until(server, lambda running: running == 0, 5)


async def _until(server: Server, holds: Any, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        running = await asyncio.to_thread(server.metric, "vllm:num_requests_running")
        if holds(running):
            return
        assert time.monotonic() < deadline, f"{running:g} requests are running"
        await asyncio.sleep(0.02)
