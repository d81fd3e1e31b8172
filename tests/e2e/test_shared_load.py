"""Two replicas and a real Redis: an expert's limit holds for both, and a replica that dies takes no place along."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pointsman.experts.backends.fake import FakeExpert, Script
from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.shared.load import SharedLoad
from pointsman.gateway.shared.store import SharedStore
from tests.e2e.running import Running, eventually, fake, running


class Replica:
    """A pool of one expert that takes two calls, and what it tells and hears; its time is the test's."""

    def __init__(self, server: EmbeddedRedis, name: str) -> None:
        spec = ExpertSpec(name="only", backend="fake", model="only", max_concurrency=2)
        self.pool = ExpertPool([FakeExpert(spec, Script())], time.monotonic)
        self.store = SharedStore(server.url, prefix="test", read_timeout_s=1.0, on_error=lambda kind: None)
        self.now_s = 0.0
        self.load = SharedLoad(self.pool, self.store, lambda: self.now_s, replica=name)


@pytest.fixture
async def replicas(redis_server: EmbeddedRedis) -> AsyncIterator[tuple[Replica, Replica]]:
    both = Replica(redis_server, "one"), Replica(redis_server, "other")
    for replica in both:
        replica.store.start()
    yield both
    for replica in both:
        await replica.store.aclose()


async def test_a_limit_holds_for_all_replicas_together(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    flights = [one.pool.begin("only", stream=False) for _ in range(2)]
    await one.load.exchange()
    await other.load.exchange()
    assert not other.pool.has_room("only")
    assert not other.pool.all_ready
    assert other.pool.snapshot().entries[0][1].in_flight == 2
    assert other.pool.in_flight() == {"only": 0}, "its own metrics count its own"
    told: list[str] = []
    other.pool.watch(told.append)
    flights[0].finish()
    await one.load.exchange()
    await other.load.exchange()
    assert other.pool.has_room("only")
    assert told == ["only"], "whoever waits there hears of it"


async def test_a_replica_that_says_nothing_new_is_gone(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    one.pool.begin("only", stream=False)
    one.pool.begin("only", stream=False)
    await one.load.exchange()
    await other.load.exchange()
    other.now_s = 1.9
    await other.load.exchange()
    assert not other.pool.has_room("only")
    other.now_s = 2.1
    await other.load.exchange()
    assert other.pool.has_room("only")
    await other.load.exchange()
    assert await other.store.get_from("load", b"one") == [None], "and is forgotten"


async def test_without_redis_each_goes_by_its_own(
    redis_server: EmbeddedRedis, replicas: tuple[Replica, Replica]
) -> None:
    one, other = replicas
    one.pool.begin("only", stream=False)
    one.pool.begin("only", stream=False)
    await one.load.exchange()
    await other.load.exchange()
    assert not other.pool.has_room("only")
    await asyncio.to_thread(redis_server.stop)
    await other.load.exchange()
    assert other.pool.has_room("only")


async def test_what_waits_here_goes_when_a_call_elsewhere_ends(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree: dict[str, Any] = {
        "pool": {"experts": [fake("only", max_concurrency=1, options={"ttft_ms": 700})]},
        "redis": {"url": redis_server.url},
    }
    names = iter(["one", "other"])
    # Both replicas run in this process, and would go by one name.
    monkeypatch.setattr("pointsman.gateway.shared.load.socket.gethostname", lambda: next(names))

    async def ask(gateway: Running) -> int:
        body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
        async with aiohttp.ClientSession() as http, http.post(f"{gateway.url}/v1/chat/completions", json=body) as reply:
            return reply.status

    async with running(tree) as one, running(tree) as other:
        first = asyncio.create_task(ask(one))
        await eventually(lambda: not other.app.runtime.pool.has_room("only"))
        began = time.monotonic()
        assert await ask(other) == 200
        assert time.monotonic() - began > 0.8, "it waited for the other replica's call, then took its own time"
        assert await first == 200
