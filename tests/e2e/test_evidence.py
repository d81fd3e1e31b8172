"""Answers as evidence through a whole gateway: who is asked, whose answer comes back, and what all of it costs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.e2e.answering import PRICES, QUESTION, answering_router, answering_tree
from tests.e2e.running import Running, eventually, fake, running

AGREEING = {"cheap": "Let us see. The answer is (C).", "twin": "C", "judge": "It is D, surely. The answer is D."}
DIFFERING = {**AGREEING, "twin": "I would say the answer is A."}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering_router(tmp_path_factory.mktemp("router"))


@asynccontextmanager
async def asking(tree: dict[str, Any]) -> AsyncIterator[tuple[Running, aiohttp.ClientSession]]:
    async with running(tree) as gateway, aiohttp.ClientSession(gateway.url) as http:
        yield gateway, http


async def ask(http: aiohttp.ClientSession, **routing: Any) -> tuple[Any, dict[str, Any]]:
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "routing": routing}
    async with http.post("/v1/chat/completions", json=body) as reply:
        return reply, await reply.json()


async def record(http: aiohttp.ClientSession, reply: Any) -> dict[str, Any]:
    async with http.get(f"/v1/decisions/{reply.headers['x-pointsman-decision']}") as found:
        outcome: dict[str, Any] = (await found.json())["outcome"]
        return outcome


async def test_when_cheap_experts_agree_the_expensive_one_is_not_asked(artifact: Path) -> None:
    async with asking(answering_tree(artifact, AGREEING)) as (gateway, http):
        reply, answer = await ask(http)
        assert reply.status == 200, answer
        assert sorted(reply.headers["x-pointsman-asked"].split(",")) == ["cheap", "twin"]
        assert gateway.fake("judge").stats.started == 0
        expert = reply.headers["x-pointsman-expert"]
        assert answer["choices"][0]["message"]["content"] == AGREEING[expert]
        assert answer["model"] == expert
        assert float(reply.headers["x-pointsman-belief"]) > 0.9

        outcome = await record(http, reply)
        calls = {call["expert"]: call for call in outcome["calls"]}
        assert calls.keys() == {"cheap", "twin"}
        assert {call["verdict"] for call in calls.values()} == {"accepted", "agreed"}
        assert outcome["cost_usd"] == pytest.approx(sum(call["cost_usd"] for call in calls.values()))
        assert float(reply.headers["x-pointsman-total-cost-usd"]) == pytest.approx(outcome["cost_usd"], rel=1e-6)
        assert (
            answer["usage"]["completion_tokens"] == calls[expert]["completion_tokens"] == outcome["completion_tokens"]
        )
        async with http.get("/metrics") as metrics:
            text = await metrics.text()
        assert f'pointsman_evidence_calls_total{{expert="{expert}",verdict="accepted"}} 1.0' in text
        assert text.count("pointsman_evidence_calls_total{") == 2
        assert f'pointsman_requests_total{{endpoint="chat/completions",expert="{expert}",status="200"}} 1.0' in text


async def test_when_cheap_experts_differ_the_expensive_one_decides(artifact: Path) -> None:
    async with asking(answering_tree(artifact, DIFFERING)) as (_, http):
        reply, answer = await ask(http)
        assert reply.headers["x-pointsman-expert"] == "judge"
        assert sorted(reply.headers["x-pointsman-asked"].split(",")) == ["cheap", "judge", "twin"]
        assert answer["choices"][0]["message"]["content"] == DIFFERING["judge"]
        verdicts = {call["expert"]: call["verdict"] for call in (await record(http, reply))["calls"]}
        assert verdicts == {"cheap": "differed", "twin": "differed", "judge": "accepted"}
        async with http.get(f"/v1/decisions/{reply.headers['x-pointsman-decision']}") as found:
            told = (await found.json())["explanation"]
        assert told.endswith(f"Answers were gathered from {', '.join(verdicts)}; that of judge was accepted.")


async def test_answers_without_a_plain_result_are_compared_by_what_they_say(artifact: Path) -> None:
    same = "One takes the bread with some salt and then one puts all of it into the oven for the taste"
    other = "Write a python class with a loop and import the function that has the bug to show what it is"
    for twin, experts in ((f"{same} please", ["cheap", "twin"]), (other, ["cheap", "judge", "twin"])):
        async with asking(answering_tree(artifact, {"cheap": same, "twin": twin, "judge": other})) as (_, http):
            reply, _ = await ask(http)
            assert sorted(reply.headers["x-pointsman-asked"].split(",")) == experts


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_stream_is_the_accepted_answer_event_by_event(artifact: Path, include_usage: bool) -> None:
    async with (
        running(answering_tree(artifact, DIFFERING)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": include_usage},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == DIFFERING["judge"]
        assert {chunk.model for chunk in chunks} == {"judge"}
        assert (chunks[-1].usage is not None) == include_usage


async def gauge(http: aiohttp.ClientSession, resource: str) -> float:
    async with http.get("/metrics") as metrics:
        found = re.search(rf'average_budget_average{{resource="{resource}"}} (\S+)', await metrics.text())
    assert found is not None
    return float(found[1])


async def test_all_calls_of_a_request_count_as_one_against_average_budgets(artifact: Path) -> None:
    tree = answering_tree(artifact, DIFFERING, judge={"ttft_ms": 60.0})
    tree["average_budgets"] = {"window_s": 20, "max_energy_j": 1000.0, "p95_ttft_ms": 50}
    for expert in tree["pool"]["experts"]:
        expert["energy"] = {"base_j": 2, "j_per_prompt_token": 0, "j_per_completion_token": 0}
    async with asking(tree) as (_, http):
        reply, _ = await ask(http)
        assert reply.headers["x-pointsman-asked"].count(",") == 2
        await asyncio.sleep(1.2)
        assert await gauge(http, "energy_j") == pytest.approx(6.0)
        # Its stream begins when the last of the calls is over.
        body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
        async with http.post("/v1/chat/completions", json=body) as stream:
            await stream.read()
        await asyncio.sleep(1.2)
        assert await gauge(http, "late_share") == pytest.approx(1.0)


async def test_no_call_starts_that_could_exceed_the_cap_on_all_calls(artifact: Path) -> None:
    async with asking(answering_tree(artifact, DIFFERING)) as (gateway, http):
        reply, _ = await ask(http)
        everything = float(reply.headers["x-pointsman-total-cost-usd"])
        # Enough for both cheap ones at their worst, or for the judge alone; never for the judge after them.
        worst_of_judge = PRICES["judge"] * 100 / 1e6
        cap = min(everything, worst_of_judge) * 0.9
        before = gateway.fake("judge").stats.started
        reply, _ = await ask(http, max_cost_usd=cap)
        assert reply.status == 200
        assert gateway.fake("judge").stats.started == before
        assert float(reply.headers["x-pointsman-total-cost-usd"]) <= cap
        assert reply.headers["x-pointsman-expert"] in ("cheap", "twin")


async def test_time_spent_counts_against_the_cap_on_time(artifact: Path) -> None:
    slow = {"ttft_ms": 300.0}
    tree = answering_tree(artifact, DIFFERING, cheap=slow, twin=slow)
    async with asking(tree) as (gateway, http):
        await ask(http)
        assert gateway.fake("judge").stats.started == 1
        # Each call alone keeps to the cap by its worst case; three in a row do not.
        reply, _ = await ask(http, max_latency_ms=700)
        assert reply.status == 200
        outcome = await record(http, reply)
        assert len(outcome.get("calls", [0])) < 3


async def test_max_calls_is_kept(artifact: Path) -> None:
    async with asking(answering_tree(artifact, DIFFERING)) as (_, http):
        reply, _ = await ask(http, evidence={"max_calls": 1})
        assert "," not in reply.headers["x-pointsman-asked"]
        reply, _ = await ask(http, evidence={"max_calls": 2})
        assert reply.headers["x-pointsman-asked"].count(",") == 1


async def test_an_expert_that_fails_is_an_answer_that_did_not_come(artifact: Path) -> None:
    tree = answering_tree(artifact, AGREEING, twin={"fault": "error", "error_status": 500})
    async with asking(tree) as (gateway, http):
        reply, _ = await ask(http)
        assert reply.status == 200
        verdicts = {call["expert"]: call["verdict"] for call in (await record(http, reply))["calls"]}
        assert verdicts["twin"] == "failed"
        assert "accepted" in verdicts.values()
        counts = gateway.app.runtime.pool.counts("twin")
        assert (counts.failed, counts.succeeded) == (1, 0)


async def test_when_all_fail_the_client_sees_the_last_failure_as_ever(artifact: Path) -> None:
    broken = {"fault": "error", "error_status": 500}
    async with asking(answering_tree(artifact, AGREEING, cheap=broken, twin=broken, judge=broken)) as (_, http):
        reply, answer = await ask(http)
        assert reply.status == 500
        assert "error" in answer


async def test_a_bad_request_is_refused_after_the_first_expert(artifact: Path) -> None:
    bad = {"fault": "error", "error_status": 400}
    async with asking(answering_tree(artifact, AGREEING, cheap=bad, twin=bad, judge=bad)) as (gateway, http):
        reply, answer = await ask(http)
        assert reply.status == 400
        assert "error" in answer
        assert sum(gateway.fake(name).stats.started for name in PRICES) == 1


async def test_beside_a_request_at_fault_every_call_made_at_once_is_recorded(artifact: Path) -> None:
    bad = {"fault": "error", "error_status": 400, "ttft_ms": 50.0}
    tree = answering_tree(artifact, AGREEING, cheap=bad, twin=bad)
    tree["pool"]["experts"][-1]["latency"]["base_ms"] = 2000
    tree["budgets"]["weights"] = {"cost": 0.02, "latency": 0.1}
    async with asking(tree) as (gateway, http):
        reply, _ = await ask(http)
        assert reply.status == 400
        # There was nothing to compare, and so nothing to believe.
        assert "x-pointsman-belief" not in reply.headers
        made = {name for name in PRICES if gateway.fake(name).stats.started}
        assert made == {"cheap", "twin"}
        assert {call["expert"] for call in (await record(http, reply))["calls"]} == made


@pytest.mark.parametrize("stream", [False, True])
async def test_a_gathered_answer_is_kept_for_the_same_request(artifact: Path, stream: bool) -> None:
    tree = answering_tree(artifact, AGREEING)
    tree["null_experts"] = {"answers": {"exact": True, "any_temperature": True}}
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
    async with asking(tree) as (gateway, http):
        async with http.post("/v1/chat/completions", json={**body, "stream": stream}) as reply:
            await reply.read()
            belief = float(reply.headers["x-pointsman-belief"])
            given = AGREEING[reply.headers["x-pointsman-expert"]]
        asked = [gateway.fake(name).stats.started for name in PRICES]
        async with http.post("/v1/chat/completions", json=body) as reply:
            assert reply.headers["x-pointsman-expert"] == "exact-cache"
            assert (await reply.json())["choices"][0]["message"]["content"] == given
        assert [gateway.fake(name).stats.started for name in PRICES] == asked
        # What it is worth is how sure the comparison was, not what was predicted of one expert.
        async with http.post("/v1/route", json=body) as reply:
            (kept,) = [one for one in (await reply.json())["candidates"] if one["expert"] == "exact-cache"]
        assert kept["estimates"]["quality"] == pytest.approx(belief, abs=0.001)


async def test_a_client_that_leaves_cancels_every_call(artifact: Path) -> None:
    hanging = {"fault": "hang_head"}
    tree = answering_tree(artifact, AGREEING, cheap=hanging, twin=hanging, judge=hanging)
    tree["budgets"]["weights"] = {"cost": 0.02, "latency": 0.5}
    async with asking(tree) as (gateway, http):
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.3):
                await ask(http)
        started = [name for name in PRICES if gateway.fake(name).stats.started]
        assert started
        await eventually(lambda: all(gateway.app.runtime.pool.counts(name).cancelled == 1 for name in started))
        assert all(state.in_flight == 0 for _, state in gateway.app.runtime.pool.snapshot().entries)


async def test_experts_are_asked_in_parallel_where_latency_has_a_price(artifact: Path) -> None:
    slow = {"ttft_ms": 1000.0}
    tree = answering_tree(artifact, AGREEING, cheap=slow, twin=slow)
    tree["pool"]["experts"][-1]["latency"]["base_ms"] = 2000
    for weights, at_once in (({"cost": 0.2}, False), ({"cost": 0.02, "latency": 0.1}, True)):
        tree["budgets"]["weights"] = weights
        async with asking(tree) as (gateway, http):
            start = time.monotonic()
            reply, _ = await ask(http)
            took = time.monotonic() - start
            assert sorted(reply.headers["x-pointsman-asked"].split(",")) == ["cheap", "twin"]
            assert (took < 1.95) is at_once
            assert gateway.fake("judge").stats.started == 0


async def test_a_caller_may_decline_and_a_named_model_is_asked_alone(artifact: Path) -> None:
    async with asking(answering_tree(artifact, AGREEING)) as (_, http):
        reply, _ = await ask(http, evidence=False)
        assert "x-pointsman-asked" not in reply.headers
        body = {"model": "twin", "messages": [{"role": "user", "content": QUESTION}]}
        async with http.post("/v1/chat/completions", json=body) as named:
            assert named.headers["x-pointsman-expert"] == "twin"
            assert "x-pointsman-asked" not in named.headers
        body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "n": 2}
        async with http.post("/v1/chat/completions", json=body) as several:
            assert "x-pointsman-asked" not in several.headers


@pytest.mark.parametrize("wish", [{"calls": 2}, {"max_calls": 0}, "yes", 3])
async def test_a_malformed_evidence_field_is_named(artifact: Path, wish: object) -> None:
    async with asking(answering_tree(artifact, AGREEING)) as (_, http):
        reply, answer = await ask(http, evidence=wish)
        assert reply.status == 400
        assert answer["error"]["param"].startswith("routing.evidence")


async def test_a_router_that_never_saw_answers_says_so() -> None:
    async with asking({"pool": {"experts": [fake("one"), fake("other")]}}) as (_, http):
        reply, answer = await ask(http, evidence=True)
        assert reply.status == 400
        assert answer["error"]["param"] == "routing.evidence"
        reply, _ = await ask(http, evidence=False)
        assert reply.status == 200
