"""Two replicas and a real Redis: what one learns the other knows, and when Redis dies neither notices."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import redis

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.running import Running, eventually, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}


def tree(server: EmbeddedRedis) -> dict[str, Any]:
    return {
        "pool": {"experts": [fake("only", generalist=True)]},
        "redis": {"url": server.url},
        # Generous, so that a busy machine does not turn a hit into a miss.
        "cache": {"decisions": {"redis_timeout_ms": 1000}},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]},
    }


async def ask(gateway: Running, key: str, prompt: str) -> tuple[str, str]:
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    headers = {"authorization": f"Bearer {ENV[key]}"}
    async with (
        aiohttp.ClientSession(gateway.url, headers=headers) as http,
        http.post("/v1/chat/completions", json=body) as reply,
    ):
        assert reply.status == 200
        return reply.headers["x-pointsman-cache"], reply.headers["x-pointsman-decision"]


#: So long that asking Redis is cheaper than assessing it.
LONG = "a question of many words " * 400


async def test_a_second_replica_finds_what_the_first_decided(redis_server: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(redis_server.url)
    async with running(tree(redis_server), ENV) as first, running(tree(redis_server), ENV) as second:
        cache, decision = await ask(first, "KEY_A", LONG)
        assert cache == "miss"
        await eventually(lambda: len({*client.keys("pointsman:*")} - {b"pointsman:load"}) == 2)
        assert (await ask(second, "KEY_B", LONG))[0] == "miss", "another tenant shares nothing"
        assert (await ask(second, "KEY_A", LONG))[0] == "hit-redis"
        assert (await ask(second, "KEY_A", LONG))[0] == "hit-local"
        headers = {"authorization": f"Bearer {ENV['KEY_A']}"}
        async with aiohttp.ClientSession(second.url, headers=headers) as http:
            async with http.post("/v1/feedback", json={"decision_id": decision, "quality": 0.5}) as reply:
                assert reply.status == 200
            async with http.get(f"/v1/decisions/{decision}") as reply:
                assert (await reply.json())["expert"] == "only"
        for key in client.keys("*"):
            held = client.hgetall(key) if client.type(key) == b"hash" else {key: client.get(key)}
            assert b"question" not in key + b"".join([*held.keys(), *held.values()]), "no prompt in Redis"
        assert all(client.ttl(key) > 0 for key in client.keys("*"))
    client.close()


async def test_requests_succeed_without_redis_and_state_recovers_with_it(redis_server: EmbeddedRedis) -> None:
    async with running(tree(redis_server), ENV) as gateway:
        await ask(gateway, "KEY_A", LONG)
        await asyncio.to_thread(redis_server.stop)
        for number in range(10):
            assert (await ask(gateway, "KEY_A", f"{LONG} during {number}"))[0] == "miss"
        assert (await ask(gateway, "KEY_A", f"{LONG} during 3"))[0] == "hit-local"
        assert await asyncio.to_thread(redis_server.start)
        client = redis.Redis.from_url(redis_server.url)
        await asyncio.sleep(0.1)
        await ask(gateway, "KEY_A", f"{LONG} after")
        await eventually(lambda: len(client.keys("pointsman:assessment:*")) >= 1, seconds=10)
        client.close()


async def test_a_short_prompt_is_assessed_sooner_than_redis_answers(redis_server: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(redis_server.url)
    async with running(tree(redis_server), ENV) as first, running(tree(redis_server), ENV) as second:
        assert (await ask(first, "KEY_A", "a question"))[0] == "miss"
        await eventually(lambda: client.keys("pointsman:ledger:*"))
        assert not client.keys("pointsman:assessment:*")
        assert (await ask(second, "KEY_A", "a question"))[0] == "miss"
        assert (await ask(second, "KEY_A", "a question"))[0] == "hit-local"
    client.close()
