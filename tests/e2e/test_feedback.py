"""Judged answers move traffic, on every replica; nobody judges what is not theirs, and nothing counts twice."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.running import Running, fake, running

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}
CODE = "Write a Python function that reverses a linked list."
MATH = "A train travels 60 miles in 1.5 hours. What is its speed?"


def tree(**changes: Any) -> dict[str, Any]:
    return {
        # Two experts of whom only a guess is known: the first answers until judged answers say otherwise.
        "pool": {
            "experts": [
                fake("first", prior={"*": 0.52}, generalist=True),
                fake("second", prior={"*": 0.5}, generalist=True),
            ]
        },
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]},
        **changes,
    }


def http(gateway: Running, key: str = "KEY_A") -> aiohttp.ClientSession:
    return aiohttp.ClientSession(gateway.url, headers={"authorization": f"Bearer {ENV[key]}"})


async def ask(client: aiohttp.ClientSession, prompt: str, model: str = "auto") -> tuple[str, str]:
    """Who answered, and the decision's id."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    async with client.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        return reply.headers["x-pointsman-expert"], reply.headers["x-pointsman-decision"]


async def judge(client: aiohttp.ClientSession, decision_id: str, **body: Any) -> tuple[int, dict[str, Any]]:
    async with client.post("/v1/feedback", json={"decision_id": decision_id, **body}) as reply:
        return reply.status, await reply.json()


async def test_feedback_moves_the_prompts_of_a_category_and_leaves_the_others() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client:
        assert (await ask(client, CODE))[0] == "first"
        for number in range(4):
            expert, decision_id = await ask(client, f"{CODE} ({number})")
            assert (await judge(client, decision_id, rating="down" if expert == "first" else "up"))[0] == 200
        assert (await ask(client, CODE))[0] == "second"
        assert (await ask(client, MATH))[0] == "first", "nothing was learned of arithmetic"
        async with client.post("/v1/route", json={"prompt": CODE}) as reply:
            told = await reply.json()
        learned = {one["expert"]: one["estimates"]["quality_learned"] for one in told["candidates"]}
        assert learned["first"] < 0.0 < learned["second"]
        assert "judged answers have moved it" in told["explanation"]


async def test_feedback_that_agrees_moves_nothing() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client:
        for _ in range(5):
            expert, decision_id = await ask(client, CODE)
            assert expert == "first"
            assert (await judge(client, decision_id, quality=0.52))[0] == 200
        async with client.post("/v1/route", json={"prompt": CODE}) as reply:
            assert {one["estimates"]["quality"] for one in (await reply.json())["candidates"]} == {0.52, 0.5}


async def test_a_judgement_counts_once_and_stands() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client:
        _, decision_id = await ask(client, CODE)
        assert await judge(client, decision_id, rating="down") == (
            200,
            {"object": "pointsman.feedback", "decision_id": decision_id, "quality": 0.0},
        )
        once = gateway.app.runtime.learning.corrections_of("a")
        assert (await judge(client, decision_id, quality=0.0))[0] == 200
        status, body = await judge(client, decision_id, quality=1.0)
        assert (status, body["error"]["code"], body["error"]["param"]) == (409, "already_judged", "decision_id")
        assert gateway.app.runtime.learning.corrections_of("a") is once
        async with client.get(f"/v1/decisions/{decision_id}") as reply:
            assert (await reply.json())["outcome"]["quality"] == 0.0
        status, body = await judge(client, decision_id, quality=1.0, rating="up")
        assert (status, body["error"]["param"]) == (400, "quality")


async def test_feedback_on_another_tenants_decision_is_refused() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client, http(gateway, "KEY_B") as other:
        _, decision_id = await ask(client, CODE)
        status, body = await judge(other, decision_id, rating="down")
        assert (status, body["error"]["code"]) == (404, "decision_not_found")
        assert gateway.app.runtime.learning.corrections_of("a") is None
        async with client.get(f"/v1/decisions/{decision_id}") as reply:
            assert (await reply.json())["outcome"]["quality"] is None


async def test_a_named_model_teaches_nothing_and_learning_can_be_off() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client:
        _, decision_id = await ask(client, CODE, model="first")
        assert (await judge(client, decision_id, rating="down"))[0] == 200
        assert gateway.app.runtime.learning.corrections_of("a") is None
    async with running(tree(learning={"enabled": False}), ENV) as gateway, http(gateway) as client:
        for _ in range(3):
            expert, decision_id = await ask(client, CODE)
            assert expert == "first"
            assert (await judge(client, decision_id, rating="down"))[0] == 200


async def test_one_tenants_judgements_move_nobody_elses_requests() -> None:
    async with running(tree(), ENV) as gateway, http(gateway) as client, http(gateway, "KEY_B") as other:
        for number in range(8):
            expert, decision_id = await ask(client, f"{CODE} ({number})")
            assert (await judge(client, decision_id, rating="down" if expert == "first" else "up"))[0] == 200
        assert (await ask(client, CODE))[0] == "second"
        assert (await ask(other, CODE))[0] == "first"
        async with other.post("/v1/route", json={"prompt": CODE}) as reply:
            assert {one["estimates"]["quality_learned"] for one in (await reply.json())["candidates"]} == {0.0}


async def test_what_one_replica_is_taught_the_other_knows(redis_server: EmbeddedRedis) -> None:
    shared = tree(redis={"url": redis_server.url}, cache={"decisions": {"redis_timeout_ms": 1000}})
    async with (
        running(shared, ENV) as one,
        running(shared, ENV) as other,
        http(one) as here,
        http(other) as there,
    ):
        decisions = [(await ask(here, f"{CODE} ({number})"))[1] for number in range(4)]
        # Half is judged where it was decided, half at the other replica.
        for number, decision_id in enumerate(decisions):
            async with asyncio.timeout(5):
                while (await judge((here, there)[number % 2], decision_id, rating="down"))[0] == 404:
                    await asyncio.sleep(0.01)
        for replica in (one, other, one):
            await replica.app.runtime.learning.exchange()
        tallies = []
        for replica, client in ((one, here), (other, there)):
            learning = replica.app.runtime.learning
            tallies.append(learning.corrections_of("a").count("first"))
            assert (await ask(client, CODE))[0] == "second"
        assert tallies[0] == pytest.approx(tallies[1], rel=1e-3)
        assert 3.5 < tallies[0] <= 4.0
        await asyncio.to_thread(redis_server.stop)
        await one.app.runtime.learning.exchange()
        assert (await ask(here, CODE))[0] == "second", "without Redis it goes on with what it knows"


async def test_of_judgements_at_several_replicas_at_once_one_counts(redis_server: EmbeddedRedis) -> None:
    shared = tree(redis={"url": redis_server.url}, cache={"decisions": {"redis_timeout_ms": 1000}})
    async with (
        running(shared, ENV) as one,
        running(shared, ENV) as other,
        http(one) as here,
        http(other) as there,
    ):
        for number in range(4):
            _, decision_id = await ask(here, f"{CODE} ({number})")
            async with asyncio.timeout(5):
                # Known to both, before it is judged by anybody.
                while (await there.get(f"/v1/decisions/{decision_id}")).status == 404:
                    await asyncio.sleep(0.01)
            clients = (here, there, here, there)
            found = await asyncio.gather(
                *(judge(client, decision_id, quality=at / 4) for at, client in enumerate(clients))
            )
            assert sorted(status for status, _ in found) == [200, 409, 409, 409]
        for replica in (one, other, one):
            await replica.app.runtime.learning.exchange()
        counts = [replica.app.runtime.learning.corrections_of("a").count("first") for replica in (one, other)]
        assert max(counts) <= 4.0


async def test_with_redis_gone_a_judgement_is_taken_and_teaches_nothing(redis_server: EmbeddedRedis) -> None:
    async with running(tree(redis={"url": redis_server.url}), ENV) as gateway, http(gateway) as client:
        _, decision_id = await ask(client, CODE)
        await asyncio.to_thread(redis_server.stop)
        assert (await judge(client, decision_id, rating="down"))[0] == 200
        assert (await judge(client, decision_id, rating="up"))[0] == 409
        assert gateway.app.runtime.learning.corrections_of("a") is None
