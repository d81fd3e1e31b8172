"""An average budget over real requests: held by one replica, known to the other through Redis, kept without it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.running import Running, eventually, fake, running

#: Good at 10 J, thrifty at 1 J; a third of the answers may be good.
ALLOWED_J = 4.0


def tree(url: str | None, **budget: float) -> dict[str, Any]:
    def expert(name: str, quality: float, joules: float) -> dict[str, Any]:
        energy = {"base_j": joules, "j_per_prompt_token": 0, "j_per_completion_token": 0}
        return fake(name, prior={"*": quality}, energy=energy, generalist=True)

    return {
        "pool": {"experts": [expert("good", 0.9, 10.0), expert("thrifty", 0.5, 1.0)]},
        "average_budgets": {"window_s": 20, "max_energy_j": ALLOWED_J, **budget},
        "redis": {"url": url, "embedded": False},
    }


async def ask(http: aiohttp.ClientSession, model: str = "auto") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "a question"}]}
    async with http.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200
        return reply.headers["x-pointsman-expert"]


async def gauges(gateway: Running) -> dict[tuple[str, str], float]:
    """(gauge, resource) -> value."""
    async with aiohttp.ClientSession(gateway.url) as http, http.get("/metrics") as reply:
        families = text_string_to_metric_families(await reply.text())
        return {
            (sample.name.removeprefix("pointsman_average_budget_"), sample.labels["resource"]): sample.value
            for family in families
            if family.name.startswith("pointsman_average_budget_")
            for sample in family.samples
        }


async def share_of_good(gateway: Running, requests: int) -> float:
    async with aiohttp.ClientSession(gateway.url) as http:
        return sum([await ask(http) == "good" for _ in range(requests)]) / requests


async def test_the_average_is_held_and_the_other_replica_knows(redis_server: EmbeddedRedis) -> None:
    async with running(tree(redis_server.url)) as busy, running(tree(redis_server.url)) as idle:
        await share_of_good(busy, 1200)
        assert await share_of_good(busy, 800) == pytest.approx((ALLOWED_J - 1) / 9, abs=0.05)
        found: dict[tuple[str, str], float] = {}

        async def told() -> None:
            while not found.get(("price", "energy_j")):
                found.update(await gauges(idle))
                await asyncio.sleep(0.1)

        await asyncio.wait_for(told(), 10)
        assert found["allowed", "energy_j"] == ALLOWED_J
        assert (await gauges(busy))["average", "energy_j"] == pytest.approx(ALLOWED_J, rel=0.3)
        async with (
            aiohttp.ClientSession(idle.url) as http,
            http.post("/v1/route", json={"prompt": "a question"}) as reply,
        ):
            terms = {one["expert"]: one["terms"] for one in (await reply.json())["candidates"]}
        assert terms["good"]["budget_energy"] == pytest.approx(10 * terms["thrifty"]["budget_energy"])
        assert terms["thrifty"]["budget_energy"] < 0
        client = redis.Redis.from_url(redis_server.url)
        (key,) = client.keys("pointsman:average-budget:*")
        assert client.hlen(key) == 2
        assert 0 < client.ttl(key) <= 41
        client.close()


async def test_without_redis_each_replica_holds_the_average_alone(redis_server: EmbeddedRedis) -> None:
    async with running(tree(redis_server.url)) as gateway:
        await share_of_good(gateway, 900)
        await asyncio.to_thread(redis_server.stop)
        await share_of_good(gateway, 300)
        assert await share_of_good(gateway, 600) == pytest.approx((ALLOWED_J - 1) / 9, abs=0.06)
        assert await asyncio.to_thread(redis_server.start)
        client = redis.Redis.from_url(redis_server.url)
        await eventually(lambda: len(client.keys("pointsman:average-budget:*")) == 1, seconds=10)
        client.close()


async def test_a_named_model_is_neither_priced_nor_counted() -> None:
    async with running(tree(None)) as gateway, aiohttp.ClientSession(gateway.url) as http:
        for _ in range(200):
            assert await ask(http, "good") == "good"
        assert await ask(http) == "good", "no price yet"
        await asyncio.sleep(1.2)
        assert (await gauges(gateway))["average", "energy_j"] == pytest.approx(10.0)


async def test_failed_calls_are_not_counted() -> None:
    settings = tree(None)
    settings["pool"]["experts"][0]["options"] = {"fault": "error", "error_status": 503}
    async with running(settings) as gateway, aiohttp.ClientSession(gateway.url) as http:
        assert {await ask(http) for _ in range(20)} == {"thrifty"}
        await asyncio.sleep(2.2)
        assert (await gauges(gateway))["average", "energy_j"] == pytest.approx(1.0)


async def test_a_refused_call_is_not_counted() -> None:
    settings = tree(None)
    async with running(settings) as gateway, aiohttp.ClientSession(gateway.url) as http:
        # The fake gives one choice; its 400 goes to the client.
        body = {"model": "auto", "messages": [{"role": "user", "content": "a question"}], "n": 2}
        async with http.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 400
        await asyncio.sleep(1.2)
        assert ("average", "energy_j") not in await gauges(gateway) or math.isnan(
            (await gauges(gateway))["average", "energy_j"]
        )
