"""Two replicas and a real Redis: a session stays with its expert, on either replica, and nobody else's does."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import redis

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.running import Running, Transport, both, eventually, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}


def tree(server: EmbeddedRedis) -> dict[str, Any]:
    return {
        # Two experts of whom nothing is known but the price: without a session the cheaper one answers.
        "pool": {"experts": [fake("first", price=price(1)), fake("second", price=price(2))]},
        "redis": {"url": server.url},
        "cache": {"decisions": {"redis_timeout_ms": 1000}},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]},
    }


def price(usd: float) -> dict[str, float]:
    return {"input_usd_per_mtok": usd, "output_usd_per_mtok": usd}


async def ask(gateway: Running, key: str, session: str, **routing: Any) -> str:
    body = {"model": "auto", "messages": [{"role": "user", "content": "a question"}], "routing": routing}
    headers = {"authorization": f"Bearer {ENV[key]}", "x-pointsman-session": session}
    async with (
        aiohttp.ClientSession(gateway.url, headers=headers) as http,
        http.post("/v1/chat/completions", json=body) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return reply.headers["x-pointsman-expert"]


async def test_a_session_stays_with_its_expert_and_no_other_session_or_tenant_does(redis_server: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(redis_server.url)
    async with running(tree(redis_server), ENV) as one, running(tree(redis_server), ENV) as other:
        assert await ask(one, "KEY_A", "chat") == "first"
        assert await ask(one, "KEY_A", "chat", experts=["second"]) == "second"
        assert await ask(one, "KEY_A", "chat") == "second", "the previous turn's expert has the bonus"
        # Other replicas hear of it through Redis, which is told beside the answer, not before it.
        shared = lambda: [client.get(key) for key in client.keys("pointsman:session:*")]  # noqa: E731
        await eventually(lambda: any(value.endswith(b"second") for value in shared()))
        assert await ask(other, "KEY_A", "chat") == "second", "the other replica knows"
        assert await ask(one, "KEY_A", "another chat") == "first"
        assert await ask(one, "KEY_B", "chat") == "first", "another tenant's session of the same name"
        assert not any(b"chat" in key for key in client.keys("*")), "no name of a session in Redis"
        await asyncio.to_thread(redis_server.stop)
        assert await ask(one, "KEY_A", "chat") == "second", "without Redis each replica remembers for itself"
    client.close()


@both
async def test_a_conversation_without_a_name_is_known_by_how_it_began(transport: Transport) -> None:
    tree = {"pool": {"experts": [fake("first"), fake("second")]}, "conversations": {"derive_sessions": True}}

    async def turn(http: aiohttp.ClientSession, *texts: str, **more: Any) -> str:
        messages: list[dict[str, str]] = [{"role": "system", "content": "be brief"}]
        for text in texts:
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
        body = {"model": "auto", "messages": messages[:-1], **more}
        async with http.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200, await reply.text()
            return reply.headers["x-pointsman-expert"]

    async with running(tree, transport=transport) as gateway, aiohttp.ClientSession(gateway.url) as http:
        assert await turn(http, "one", routing={"experts": ["second"]}) == "second"
        assert await turn(http, "one", "two") == "second"
        assert await turn(http, "one", "two", "three") == "second"
        assert await turn(http, "one") == "first", "a first turn has nobody to stay with"
        assert await turn(http, "another", "two") == "first"
        assert await turn(http, "x", "y", prompt_cache_key="mine", routing={"experts": ["second"]}) == "second"
        assert await turn(http, "cut", "away", prompt_cache_key="mine") == "second"
