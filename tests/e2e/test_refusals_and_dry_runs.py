"""Whose budget refuses, when nobody can be reached, and what a dry run is judged as and remembered by."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import orjson
import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.running import fake, running
from tests.e2e.test_endpoints_messages import ask
from tests.e2e.upstream import Says, upstream

PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
CHAT = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("budgets", "routing", "param"),
    [
        ({"max_cost_usd": 1e-7}, None, "budgets.max_cost_usd"),
        ({"max_cost_usd": 1e-7}, {"weights": {"cost": 1}}, "budgets.max_cost_usd"),
        ({"max_cost_usd": 1}, {"max_cost_usd": 1e-7}, "routing.max_cost_usd"),
        ({"max_cost_usd": 1e-7}, {"max_cost_usd": 1e-8}, "routing.max_cost_usd"),
        ({"local_only": True}, None, "budgets.local_only"),
        ({}, {"local_only": True}, "routing.local_only"),
        ({"max_energy_j": 1}, None, "budgets.max_energy_j"),
    ],
)
async def test_a_refusal_names_whose_budget_it_was(
    budgets: dict[str, Any], routing: dict[str, Any] | None, param: str
) -> None:
    expert = {**fake("a"), "price": PRICE, "local": False, "energy": None}
    async with running({"pool": {"experts": [expert]}, "budgets": budgets}) as gateway:
        body = orjson.dumps(CHAT if routing is None else {**CHAT, "routing": routing})
        status, answer, _ = await ask(gateway.url, "/v1/chat/completions", body)
        error = orjson.loads(answer)["error"]
        assert (status, error["code"], error["param"]) == (422, "budget_infeasible", param)
        assert error["message"].startswith(param)
        assert ("this gateway's own settings" in error["message"]) is param.startswith("budgets.")


async def test_a_gateway_whose_experts_never_answered_is_not_ready() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens here, and nobody else will
        gone = {"name": "gone", "backend": "openai_http", "base_url": f"http://127.0.0.1:{held.getsockname()[1]}"}
        async with running({"pool": {"experts": [gone], "probe_interval_s": 600}}) as gateway:
            assert await _ready(gateway.url, 503) == "no expert is healthy"
    async with upstream(chat__completions=Says(b"{}")) as server:
        experts = [gone, server.expert("here", "chat")]
        async with running({"pool": {"experts": experts, "probe_interval_s": 600}}) as gateway:
            assert await _ready(gateway.url, 200) == "ready"


async def test_a_prompt_by_itself_is_judged_as_a_chat() -> None:
    async with upstream(chat__completions=Says(b"{}")) as server:
        chats, completes = server.expert("chats", "chat"), server.expert("completes", "completions")
        async with running({"pool": {"experts": [chats, completes]}}) as gateway:
            for body, expert in (
                ({"prompt": "hello"}, "chats"),
                ({"prompt": "hello", "max_tokens": 5, "model": "auto"}, "chats"),
                ({"prompt": "hello", "suffix": "world"}, "completes"),
                ({"prompt": ["hello", "world"]}, "completes"),
                (CHAT, "chats"),
            ):
                status, answer, _ = await ask(gateway.url, "/v1/route", orjson.dumps(body))
                assert (status, orjson.loads(answer)["expert"]) == (200, expert)


async def test_a_dry_run_is_remembered_and_is_nothing_to_judge(redis_server: EmbeddedRedis) -> None:
    tree = {"pool": {"experts": [fake("a")]}, "redis": {"url": redis_server.url}}
    async with running(tree) as one, running(tree) as other:
        for body, expert in ({"prompt": "hello"}, "a"), ({"prompt": "hello", "routing": {"max_energy_j": 1e-9}}, None):
            _, answer, _ = await ask(one.url, "/v1/route", orjson.dumps(body))
            told = orjson.loads(answer)
            assert told["expert"] == expert
            again = await _decision(one.url, told["id"])
            assert (again["expert"], again["outcome"]) == (expert, None)
            assert again["explanation"] == told["explanation"]
            elsewhere = await _decision(other.url, told["id"])
            assert (elsewhere["expert"], elsewhere["outcome"]) == (expert, None)
            judgement = orjson.dumps({"decision_id": told["id"], "quality": 1.0})
            for gateway in (one, other):
                assert (await ask(gateway.url, "/v1/feedback", judgement))[0] == 404


async def _decision(url: str, decision_id: str) -> dict[str, Any]:
    """What is known of a decision, as soon as it is."""
    async with asyncio.timeout(30):
        while True:
            status, answer = await _get(f"{url}/v1/decisions/{decision_id}")
            if status == 200:
                found: dict[str, Any] = answer
                return found


async def _ready(url: str, expected: int) -> str:
    """What the gateway says once it has probed its experts."""
    async with asyncio.timeout(30):
        while True:
            status, answer = await _get(f"{url}/ready")
            if status == expected:
                return str(answer["status"])
            await asyncio.sleep(0.01)


async def _get(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(url) as reply:
        return reply.status, await reply.json()
