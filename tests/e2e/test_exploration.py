"""Shadow calls: off by default, after the answer, within their budget, and only agreement moves traffic."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from tests.e2e.running import Running, eventually, fake, running

CODE = "Write a Python function that reverses a linked list."


def tree(exploration: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
    """`first` answers everything; of `second`, which costs about a thousandth of a cent, only a guess is known."""
    second = {"reply": "The answer is B.", **options}
    learning = {} if exploration is None else {"learning": {"exploration": exploration}}
    return {
        "pool": {
            "experts": [
                fake("first", prior={"*": 0.6}, generalist=True, options={"reply": "The answer is A."}),
                fake("second", prior={"*": 0.5}, generalist=True, options=second),
            ]
        },
        **learning,
    }


async def ask(client: aiohttp.ClientSession, *, headers: dict[str, str] | None = None, **body: Any) -> str:
    """The decision's id; the answer has been read to its end."""
    asked = {"model": "auto", "messages": [{"role": "user", "content": CODE}], **body}
    async with client.post("/v1/chat/completions", json=asked, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
        return reply.headers["x-pointsman-decision"]


async def settled(gateway: Running) -> None:
    """No shadow call is under way."""
    await asyncio.sleep(0.05)
    await eventually(lambda: gateway.app.runtime.exploration is None or not gateway.app.runtime.exploration.busy)


async def shadow_of(client: aiohttp.ClientSession, decision_id: str) -> dict[str, Any] | None:
    async with client.get(f"/v1/decisions/{decision_id}") as reply:
        shadow: dict[str, Any] | None = (await reply.json())["outcome"].get("shadow")
        return shadow


async def test_nothing_is_explored_unless_the_operator_says_so() -> None:
    async with running(tree(None)) as gateway, aiohttp.ClientSession(gateway.url) as client:
        for _ in range(10):
            await ask(client)
        await settled(gateway)
        assert gateway.fake("second").stats.started == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_another_expert_is_asked_after_the_answer_and_recorded_as_shadow(*, stream: bool) -> None:
    async with running(tree({"share": 1.0})) as gateway, aiohttp.ClientSession(gateway.url) as client:
        decision_id = await ask(client, stream=stream, stream_options={"include_usage": True} if stream else None)
        await settled(gateway)
        shadow = await shadow_of(client, decision_id)
        assert shadow is not None
        assert (shadow["expert"], shadow["verdict"], shadow["status"]) == ("second", "differed", 200)
        assert shadow["cost_usd"] > 0
        assert shadow["energy_j"] > 0
        async with client.get("/metrics") as reply:
            assert 'pointsman_shadow_calls_total{expert="second",verdict="differed"} 1.0' in await reply.text()


async def test_the_share_is_never_overrun() -> None:
    async with running(tree({"share": 0.25})) as gateway, aiohttp.ClientSession(gateway.url) as client:
        for number in range(1, 21):
            await ask(client)
            await settled(gateway)
            assert gateway.fake("second").stats.started == number // 4


@pytest.mark.parametrize("limit", ["max_cost_usd_per_hour", "max_energy_j_per_hour"])
async def test_the_worst_case_is_held_against_the_hour_before_a_call(limit: str) -> None:
    # At most 10 tokens come back: below 0.00008 dollars and 0.3 joules at worst, and never nothing.
    allowed = {"max_cost_usd_per_hour": 0.0002, "max_energy_j_per_hour": 0.7}[limit]
    async with running(tree({"share": 1.0, limit: allowed})) as gateway, aiohttp.ClientSession(gateway.url) as client:
        decisions = [await ask(client, max_tokens=10) for _ in range(30)]
        await settled(gateway)
        found = [await shadow_of(client, decision_id) for decision_id in decisions]
        made = [one for one in found if one is not None]
        spent = sum(one["cost_usd" if "cost" in limit else "energy_j"] for one in made)
        assert 0 < len(made) == gateway.fake("second").stats.started < 30
        assert spent <= allowed
    async with running(tree({"share": 1.0, limit: 0})) as gateway, aiohttp.ClientSession(gateway.url) as client:
        await ask(client, max_tokens=10)
        await settled(gateway)
        assert gateway.fake("second").stats.started == 0


async def test_the_client_does_not_wait_and_shutdown_does_not_hang() -> None:
    slow = tree({"share": 1.0}, fault="hang_head")
    async with running(slow) as gateway, aiohttp.ClientSession(gateway.url) as client:
        began = time.monotonic()
        for _ in range(5):
            await ask(client)
        assert time.monotonic() - began < 15
        await eventually(lambda: gateway.fake("second").stats.started > 0)
        began = time.monotonic()
    assert time.monotonic() - began < 15


async def test_what_callers_choose_or_keep_to_themselves_is_not_explored() -> None:
    async with running(tree({"share": 1.0})) as gateway, aiohttp.ClientSession(gateway.url) as client:
        await ask(client, model="first")
        await ask(client, store=False)
        await ask(client, headers={"cache-control": "no-cache"})
        await ask(client, routing={"cache": "no-store"})
        await ask(client, routing={"experts": ["first"]})
        await settled(gateway)
        assert gateway.fake("second").stats.started == 0
        await ask(client)
        await settled(gateway)
        assert gateway.fake("second").stats.started == 1


async def test_only_agreement_moves_what_is_predicted() -> None:
    async def learned(options: dict[str, Any]) -> float:
        async with running(tree({"share": 1.0}, **options)) as gateway, aiohttp.ClientSession(gateway.url) as client:
            for _ in range(5):
                await ask(client)
                await settled(gateway)
            assert gateway.fake("second").stats.started == 5
            async with client.post("/v1/route", json={"prompt": CODE}) as reply:
                found = {one["expert"]: one["estimates"] for one in (await reply.json())["candidates"]}
            assert found["first"]["quality_learned"] == 0
            return float(found["second"]["quality_learned"])

    prose = "A long answer of many words that ends without stating any plain result that could be compared with others"
    assert await learned({"reply": "(A)"}) > 0
    assert await learned({"reply": "The answer is B."}) < 0
    assert await learned({"reply": prose}) == 0
