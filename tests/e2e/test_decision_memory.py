"""A decision that still holds is not made again; one that rests on anything that changed is."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.e2e.running import Running, fake, running

PROMPT = "Write a function that reverses a list."


def tree(**more: Any) -> dict[str, Any]:
    experts = [
        fake("good", prior={"*": 0.9}, generalist=True, max_concurrency=1),
        fake("spare", prior={"*": 0.5}, generalist=True),
    ]
    return {"pool": {"experts": experts, "probe_interval_s": 0}, **more}


async def decide(gateway: Running, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    """Ask, and look the decision up."""
    asked = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}], **body}
    async with aiohttp.ClientSession(gateway.url, headers=headers) as http:
        async with http.post("/v1/chat/completions", json=asked) as reply:
            assert reply.status == 200
            decision_id = reply.headers["x-pointsman-decision"]
        async with http.get(f"/v1/decisions/{decision_id}") as reply:
            found: dict[str, Any] = await reply.json()
            return found


async def test_the_same_question_is_decided_once_and_says_so() -> None:
    async with running(tree()) as gateway:
        first = await decide(gateway)
        second, third = await decide(gateway), await decide(gateway)
        assert first["same_as"] is None
        assert second["same_as"] == third["same_as"] == first["id"]
        assert second["id"] != first["id"]
        for same in ("expert", "fallbacks", "reason", "classification", "candidates"):
            assert second[same] == first[same]
        assert second["outcome"]["expert"] == "good"


@pytest.mark.parametrize(
    "other",
    [
        {"max_tokens": 7},
        {"stream": False, "stop": None, "tool_choice": "none", "messages": [{"role": "user", "content": PROMPT + "!"}]},
        {"routing": {"max_cost_usd": 1.0}},
        {"routing": {"experts": ["good"]}},
        {"routing": {"session": "s"}},
        {"messages": [{"role": "user", "content": PROMPT}, {"role": "user", "content": PROMPT}]},
    ],
)
async def test_another_question_is_decided_in_full(other: dict[str, Any]) -> None:
    async with running(tree()) as gateway:
        await decide(gateway)
        assert (await decide(gateway, **other))["same_as"] is None


async def test_what_holds_for_an_idle_pool_does_not_hold_for_a_full_one() -> None:
    async with running(tree()) as gateway:
        assert (await decide(gateway))["expert"] == "good"
        with gateway.app.runtime.pool.begin("good", stream=False):
            busy = await decide(gateway)
            assert (busy["expert"], busy["same_as"]) == ("spare", None)
        again = await decide(gateway)
        assert again["expert"] == "good"
        assert again["same_as"] is not None


@pytest.mark.parametrize("budget", [{"max_latency_ms": 60_000}, {"weights": {"latency": 0.5}}])
async def test_every_request_is_decided_in_full_where_load_counts(budget: dict[str, Any]) -> None:
    async with running(tree(budgets=budget)) as gateway:
        await decide(gateway)
        assert (await decide(gateway))["same_as"] is None


async def test_tenants_share_no_decision() -> None:
    keys = [{"name": "a", "key_env": "KEY_A"}, {"name": "b", "key_env": "KEY_B"}]
    async with running(tree(auth={"keys": keys}), {"KEY_A": "secret-a", "KEY_B": "secret-b"}) as gateway:
        a, b = ({"authorization": f"Bearer secret-{name}"} for name in "ab")
        await decide(gateway, a)
        assert (await decide(gateway, b))["same_as"] is None
        assert (await decide(gateway, a))["same_as"] is not None
