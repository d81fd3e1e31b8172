"""Limits of keys and tenants at a whole gateway: on both ways, by calls at once, by workers with one account."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import redis
import yaml

from pointsman.gateway.access.limit_leases import Leases
from pointsman.gateway.access.limits import Meter
from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.settings import Settings
from tests.e2e.running import Running, Transport, both, eventually, running
from tests.e2e.served import served

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbb", "KEY_C": "sk-cccccccccccccccc"}
#: An answer of so many tokens, whatever is asked.
USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
#: What it costs by `PRICE`.
CALL_USD = (100 * 100 + 50 * 1000) / 1e6
PRICE = {"input_usd_per_mtok": 100, "output_usd_per_mtok": 1000}


class Upstream:
    """An expert over HTTP that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        self.calls += 1
        asked = await request.json()
        await self.gate.wait()
        if asked.get("stream"):
            reply = aiohttp.web.StreamResponse(headers={"content-type": "text/event-stream"})
            await reply.prepare(request)
            for _ in range(10):
                await reply.write(
                    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
                )
            await reply.write(b"data: [DONE]\n\n")
            return reply
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        return aiohttp.web.json_response(
            {"id": "1", "model": "m", "choices": [choice], "usage": USAGE},
            headers={"x-ratelimit-limit-requests": "77"},
        )


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    expert = Upstream()
    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", expert.answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    expert.port = runner.addresses[0][1]
    try:
        yield expert
    finally:
        expert.gate.set()
        await runner.cleanup()


def expert(upstream: Upstream, name: str = "only", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "backend": "openai_http",
        "model": "m",
        "base_url": f"http://127.0.0.1:{upstream.port}",
        "generalist": True,
        "price": PRICE,
        "context_window_tokens": 4096,
        **fields,
    }


def tree(upstream: Upstream, *keys: dict[str, Any], **settings: Any) -> dict[str, Any]:
    auth = {"keys": list(keys), **settings.pop("auth", {})}
    return {"pool": {"experts": [expert(upstream)], "probe_interval_s": 0}, "auth": auth, **settings}


def key(letter: str, **fields: Any) -> dict[str, Any]:
    return {"name": letter, "key_env": f"KEY_{letter.upper()}", **fields}


async def ask(
    http: aiohttp.ClientSession, letter: str = "a", model: str = "auto", **fields: Any
) -> tuple[int, dict[str, str], Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 100, **fields}
    headers = {"authorization": f"Bearer {ENV[f'KEY_{letter.upper()}']}"}
    async with http.post("/v1/chat/completions", json=body, headers=headers) as reply:
        found = await reply.read() if fields.get("stream") and reply.status == 200 else await reply.json()
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, found


async def _room_in(period_s: float, needed_s: float) -> None:
    """Wait until a window of the clock has room for a test."""
    left_s = period_s - time.time() % period_s
    if left_s < needed_s:
        await asyncio.sleep(left_s + 0.05)


def session(gateway: Running) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(gateway.url, connector=aiohttp.TCPConnector(limit=0))


@both
async def test_a_request_rate_is_enforced_and_reported(transport: Transport) -> None:
    await _room_in(60, 8)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"requests_per_minute": 3}), key("b"))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            for left in ("2", "1", "0"):
                status, headers, _ = await ask(http)
                assert status == 200
                assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("3", left)
            status, headers, body = await ask(http)
            error = body["error"]
            assert (status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
            assert error["reason"] == headers["x-pointsman-reason"] == "key_requests_per_minute"
            assert 1 <= int(headers["retry-after"]) <= 60
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert up.calls == 3
            assert (await ask(http, "b"))[0] == 200, "another key"


@both
async def test_a_tenants_limit_covers_all_its_keys_and_no_other_tenant(transport: Transport) -> None:
    await _room_in(60, 8)
    async with upstream() as up:
        auth = {"tenants": {"t": {"limits": {"requests_per_minute": 4}}}}
        settings = tree(up, key("a", tenant="t"), key("b", tenant="t"), key("c"), auth=auth)
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            found = Counter([(await ask(http, letter))[0] for letter in "ababab"])
            assert found == {200: 4, 429: 2}
            assert (await ask(http, "c"))[0] == 200


@both
@pytest.mark.parametrize("model", ["auto", "only"])
async def test_calls_at_once_cannot_overrun_a_budget_in_dollars(transport: Transport, model: str) -> None:
    """A6: all of them are under way before the first is over."""
    await _room_in(3600, 20)
    async with upstream() as up:
        budget = 20 * CALL_USD
        settings = tree(up, key("a", limits={"usd_per_hour": budget}))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            up.gate.clear()
            calls = [asyncio.create_task(ask(http, model=model)) for _ in range(200)]
            await eventually(lambda: sum(call.done() for call in calls) + up.calls == 200, seconds=20)
            # An answer of 100 tokens was held for, which is dearer than what came.
            assert 5 <= up.calls < 20
            up.gate.set()
            found = await asyncio.gather(*calls)
            assert Counter(status for status, _, _ in found) == {200: up.calls, 429: 200 - up.calls}
            refused = next(body["error"] for status, _, body in found if status == 429)
            assert (refused["code"], refused["reason"]) == ("insufficient_quota", "key_usd_per_hour")
            # What was held and not spent is there again, to the last call that fits with its worst case.
            while (await ask(http, model=model))[0] == 200:
                pass
            assert up.calls * CALL_USD <= budget
            assert up.calls >= 18


@both
async def test_a_stream_without_usage_is_not_free(transport: Transport) -> None:
    await _room_in(60, 8)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"tokens_per_minute": 1000}))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            left = []
            for _ in range(2):
                assert (await ask(http, stream=True))[0] == 200
                left.append(1000 - int((await ask(http))[1]["x-ratelimit-remaining-tokens"]))
        # The headers of the second call of each pair count its own worst case of about 107 tokens.
        stream = left[1] - left[0] - 150
        assert stream == 107, "what the expert may have thought besides its ten words nobody knows: the worst case"


@both
async def test_a_client_that_leaves_pays_for_what_it_had_asked(transport: Transport) -> None:
    await _room_in(3600, 20)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 3 * 0.11}))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            await ask(http)
            up.gate.clear()
            for number in range(2, 4):
                call = asyncio.create_task(ask(http))
                await eventually(lambda number=number: up.calls == number)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            meter = gateway.app.runtime.access.meters[0]
            await eventually(lambda: meter.held == 0)
            assert meter.spent == pytest.approx(CALL_USD + 2 * 0.1, rel=0.05), "the worst case of both"


@both
async def test_what_fails_is_not_paid_for(transport: Transport) -> None:
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 1, "requests_per_minute": 100}))
        settings["pool"]["experts"].append(expert(up, "dead", base_url="http://127.0.0.1:9"))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            assert (await ask(http, model="dead"))[0] == 502
            requests, dollars = gateway.app.runtime.access.meters
            assert (requests.spent, dollars.spent, dollars.held) == (1, 0, 0)


@both
async def test_a_key_asks_its_experts_only(transport: Transport) -> None:
    async with upstream() as up:
        settings = tree(up, key("a", experts=["only"]), key("b"), key("c", limits={"usd_per_day": 9}))
        better = {"quality_prior": {"*": 0.9}, "price": None}
        settings["pool"]["experts"].append(expert(up, "better", **better))
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            assert (await ask(http, "b"))[1]["x-pointsman-expert"] == "better"
            for letter in "ac":
                status, headers, _ = await ask(http, letter)
                assert (status, headers["x-pointsman-expert"]) == (200, "only"), "auto chooses among the allowed"
                for fields in ({"model": "better"}, {"routing": {"experts": ["better"]}}):
                    status, _, body = await ask(http, letter, **fields)
                    assert (status, body["error"]["code"]) == (403, "model_not_allowed")
                assert (await ask(http, letter, model="only"))[0] == 200
                headers = {"authorization": f"Bearer {ENV[f'KEY_{letter.upper()}']}"}
                async with http.get("/v1/models", headers=headers) as reply:
                    assert [one["id"] for one in (await reply.json())["data"]] == ["auto", "only"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path, scripts=True)
    assert await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


async def test_two_workers_share_a_budget_that_calls_at_once_cannot_overrun(
    server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: the command with two workers, one account in Redis, 200 calls at once, and then one after another."""
    await _room_in(3600, 30)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    async with upstream() as up:
        budget = 60 * CALL_USD
        settings = tree(up, key("a", limits={"usd_per_hour": budget}), redis={"url": server.url})
        file = tmp_path / "pointsman.yaml"
        file.write_text(yaml.safe_dump(settings))
        context = served(tmp_path, "--config", str(file), "--workers", "2")
        url, _ = await asyncio.to_thread(context.__enter__)
        try:
            async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as http:
                found = await asyncio.gather(*(ask(http) for _ in range(200)))
                statuses = Counter(status for status, _, _ in found)
                assert set(statuses) <= {200, 429}
                assert statuses[200] == up.calls
                # New connections, so that both workers are asked; what one has leased and does not use comes back.
                asked, until_s = 0, time.monotonic() + 20
                while asked < 100 or (up.calls < 54 and time.monotonic() < until_s):
                    asked += 1
                    async with aiohttp.ClientSession(url) as one:
                        status, _, body = await ask(one)
                    assert status in (200, 429), body
            assert up.calls * CALL_USD <= budget
            assert up.calls >= 54, "and it can be spent"
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


async def test_without_redis_a_process_goes_on_with_its_share_and_heals(server: EmbeddedRedis) -> None:
    await _room_in(3600, 30)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 30 * CALL_USD}), redis={"url": server.url})
        async with (
            running(settings, ENV) as one,
            running(settings, ENV) as other,
            session(one) as first,
            session(other) as second,
        ):
            assert [(await ask(http))[0] for http in (first, second)] == [200, 200]
            # Both have heard that there are two.
            meters = [gateway.app.runtime.access.meters[0] for gateway in (one, other)]
            await eventually(lambda: [meter.peers for meter in meters] == [2, 2], seconds=5)
            await asyncio.to_thread(server.stop)
            while (await ask(first))[0] == 200:
                pass
            alone = up.calls
            assert alone >= 10, "a half of what was left, but for the worst case of the last"
            while (await ask(second))[0] == 200:
                pass
            assert up.calls > alone, "the other half is there for the other"
            assert up.calls <= 30
            assert await asyncio.to_thread(server.start)
            await eventually(lambda: all(one.left < 30 * CALL_USD for one in meters), seconds=10)
            for http in (first, second):
                while (await ask(http))[0] == 200:
                    pass
            assert up.calls <= 30


async def test_every_lease_is_written_again_after_redis_lost_its_data(server: EmbeddedRedis) -> None:
    await _room_in(3600, 30)
    client = redis.Redis.from_url(server.url)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 12 * CALL_USD}), redis={"url": server.url})
        async with running(settings, ENV) as one, running(settings, ENV) as other:
            async with session(one) as http:
                for _ in range(5):
                    assert (await ask(http))[0] == 200
            client.flushdb()
            await eventually(lambda: client.keys("pointsman:limit:*"), seconds=5)
            async with session(other) as http:
                while (await ask(http))[0] == 200:
                    pass
            assert 8 <= up.calls <= 12
    client.close()


@both
async def test_a_lease_is_spent_without_asking_redis(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    await _room_in(3600, 20)
    asked: list[object] = []
    more = Leases.more

    async def counted(leases: Leases, needs: Sequence[tuple[Meter, float]]) -> None:
        asked.append(needs)
        await more(leases, needs)

    monkeypatch.setattr(Leases, "more", counted)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 100}), redis={"url": server.url})
        async with running(settings, ENV, transport=transport) as gateway, session(gateway) as http:
            for _ in range(20):
                assert (await ask(http))[0] == 200
            assert len(asked) == 1, "the first request finds no lease yet"


async def test_what_was_spent_outlives_a_change_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    await _room_in(3600, 20)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    async with upstream() as up:
        before = tree(up, key("a", limits={"usd_per_hour": 5 * CALL_USD}), key("b"))
        after = tree(up, key("a", limits={"usd_per_hour": 5 * CALL_USD}))
        async with running(before, ENV) as gateway, session(gateway) as http:
            for _ in range(3):
                assert (await ask(http))[0] == 200
            up.gate.clear()
            under_way = asyncio.create_task(ask(http))
            await eventually(lambda: up.calls == 4)
            await gateway.serving.prepare(2, Settings.model_validate(after))
            await gateway.serving.switch(2)
            assert (await ask(http, "b"))[0] == 401
            meter = gateway.app.runtime.access.meters[0]
            assert meter.spent == pytest.approx(3 * CALL_USD)
            up.gate.set()
            assert (await under_way)[0] == 200
            assert meter.spent == pytest.approx(4 * CALL_USD), "a call of the old settings is settled"
            while (await ask(http))[0] == 200:
                pass
            assert up.calls <= 5


async def test_every_call_of_one_request_is_held_for_and_paid() -> None:
    """An expert cannot be reached, the next one answers: its call is held for anew, and only it is paid for."""
    await _room_in(3600, 20)
    async with upstream() as up:
        settings = tree(up, key("a", limits={"usd_per_hour": 1}))
        dear = {"input_usd_per_mtok": 1e4, "output_usd_per_mtok": 1e5}
        better = {"quality_prior": {"*": 0.9}, "base_url": "http://127.0.0.1:9", "price": PRICE}
        settings["pool"]["experts"] = [expert(up, "better", **better), expert(up, price=dear)]
        async with running(settings, ENV) as gateway, session(gateway) as http:
            # The fallback could take 11 dollars, and is not asked.
            status, _, body = await ask(http)
            assert (status, body["error"]["code"]) == (429, "insufficient_quota")
            status, headers, _ = await ask(http, max_tokens=1)
            assert (status, headers["x-pointsman-expert"]) == (200, "only")
            assert up.calls == 1
            meter = gateway.app.runtime.access.meters[0]
            # The expert counts more of the prompt than was held, which is the next request's debt; and an answer of 50
            # tokens, where 1 was asked for: that many cannot be charged.
            assert meter.held == 0
            assert meter.spent == pytest.approx((100 * 1e4 + 1 * 1e5) / 1e6)
            assert (await ask(http, max_tokens=1))[0] == 429
