"""Decisions explained, looked up and judged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.e2e.running import Running, pool_of_fakes, running

CODE = "Write a Python function that reverses a linked list."


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    async with running({"pool": {"experts": pool_of_fakes()}}) as gateway:
        yield gateway


@pytest.fixture
async def http(gateway: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.url) as session:
        yield session


async def test_a_route_explains_every_candidate(gateway: Running, http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/route", json={"prompt": CODE, "routing": {"max_ttft_ms": 500}}) as reply:
        assert reply.status == 200
        decision = await reply.json()
    assert decision["expert"] == "fake-code"
    assert decision["classification"]["category"] == "code"
    assert "fake-code answers: the prompt looks like code" in decision["explanation"]
    assert len(decision["candidates"]) == 5
    for candidate in decision["candidates"]:
        assert (candidate["rejection"] is None) == candidate["chosen"]
        assert candidate["estimates"]["quality_source"] in {"measured", "stated", "estimated"}
        if not candidate["chosen"]:
            assert candidate["rejection"]["rule"]
            assert candidate["rejection"]["detail"]
    assert gateway.fake("fake-code").stats.started == 0


async def test_an_infeasible_route_is_explained_rather_than_refused(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/route", json={"prompt": CODE, "routing": {"max_energy_j": 0.0001}}) as reply:
        assert reply.status == 200
        decision = await reply.json()
    assert decision["expert"] is None
    assert {candidate["rejection"]["rule"] for candidate in decision["candidates"]} == {"max_energy_j"}


async def test_an_answer_can_be_looked_up_and_judged(http: aiohttp.ClientSession) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": CODE}]}
    async with http.post("/v1/chat/completions", json=body) as reply:
        decision_id = reply.headers["x-pointsman-decision"]
        usage = (await reply.json())["usage"]
    async with http.post("/v1/feedback", json={"decision_id": decision_id, "quality": 0.75}) as reply:
        assert reply.status == 200
    async with http.get(f"/v1/decisions/{decision_id}") as reply:
        record = await reply.json()
    outcome = record["outcome"]
    assert outcome["expert"] == record["expert"] == "fake-code"
    assert outcome["quality"] == 0.75
    assert outcome["prompt_tokens"] == usage["prompt_tokens"]
    assert outcome["energy_source"] == "estimated"
    expected = (usage["prompt_tokens"] * 1 + usage["completion_tokens"] * 2) / 1e6
    assert outcome["cost_usd"] == pytest.approx(expected)
    assert outcome["latency_ms"] > 0


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"decision_id": "dec_" + "0" * 32, "quality": 1}, 404, "decision_id"),
        ({"decision_id": "../../etc", "quality": 1}, 404, "decision_id"),
        ({"decision_id": "dec_" + "0" * 32, "quality": 2}, 400, "quality"),
        ({"decision_id": "dec_" + "0" * 32}, 400, "quality"),
        ({"quality": 1}, 400, "decision_id"),
        ({"decision_id": "x", "quality": 1, "extra": 1}, 400, "extra"),
    ],
)
async def test_bad_feedback_is_refused_in_openai_s_shape(
    http: aiohttp.ClientSession, body: dict[str, object], status: int, param: str
) -> None:
    async with http.post("/v1/feedback", json=body) as reply:
        assert reply.status == status
        assert (await reply.json())["error"]["param"] == param


async def test_unknown_paths_and_methods_have_openai_s_shape(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/nothing") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "not_found")
    async with http.get("/v1/chat/completions") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (405, "method_not_allowed")
    async with http.get("/v1/route") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (405, "method_not_allowed")
    async with http.post("/v1/chat/completions", data=b"{") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, "invalid_json")
    async with http.post("/v1/feedback", data=b"{", headers={"content-type": "application/json"}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (400, "invalid_json")
    async with http.post("/v1/chat/completions", data=b"x", headers={"content-encoding": "lzma"}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (415, "unsupported_encoding")


async def test_probes_and_metrics(http: aiohttp.ClientSession) -> None:
    async with http.get("/health") as reply:
        assert await reply.json() == {"status": "ok"}
    async with http.get("/ready") as reply:
        ready = await reply.json()
        assert (reply.status, ready["status"], ready["redis"]) == (200, "ready", "off")
    body = {"model": "auto", "messages": [{"role": "user", "content": CODE}]}
    async with http.post("/v1/chat/completions", json=body) as reply:
        await reply.read()
    async with http.get("/metrics") as reply:
        text = await reply.text()
    assert 'pointsman_requests_total{endpoint="chat/completions",expert="fake-code",status="200"} 1.0' in text
    assert 'pointsman_decisions_total{category="code",expert="fake-code",reason="best_utility"} 1.0' in text
    assert 'pointsman_tokens_total{expert="fake-code",kind="completion"}' in text
    assert 'pointsman_in_flight{expert="fake-code"} 0.0' in text


async def test_auto_chooses_among_those_awake_and_the_others_can_be_named() -> None:
    awake = ["fake-math", "fake-general"]
    tree = {"pool": {"experts": pool_of_fakes(), "awake": awake}}
    async with running(tree) as gateway, aiohttp.ClientSession(gateway.url) as http:
        async with http.post("/v1/route", json={"prompt": CODE}) as reply:
            decision = await reply.json()
        asleep = {one["expert"] for one in decision["candidates"] if (one["rejection"] or {}).get("rule") == "asleep"}
        assert decision["expert"] in awake
        assert asleep == {"fake-code", "fake-clinical", "fake-prose"}
        body = {"model": "fake-code", "messages": [{"role": "user", "content": CODE}]}
        async with http.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200
            assert reply.headers["x-pointsman-expert"] == "fake-code"
