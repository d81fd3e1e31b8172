"""Records on a real Redis: another replica finds what the first one would tell, and nobody finds another tenant's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from pointsman.experts.spec import Capability, ExpertSpec, ExpertState, PoolView, Source
from pointsman.gateway.deciding.decision_memory import again
from pointsman.gateway.ids import DecisionIds
from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.record.ledger import Entry, Ledger
from pointsman.gateway.shared.store import SharedStore
from pointsman.routers.artifacts import load_router
from pointsman.routers.outcomes import CallOutcome, Outcome, Verdict
from pointsman.routers.types import Decision, Reason, RouteRequest

TTL_S = 100
CALLS = (
    CallOutcome("a", 200, Verdict.ACCEPTED, 10, 2, 0.001, 0.5, 12.5),
    CallOutcome("b", None, Verdict.FAILED),
)
_IDS = DecisionIds()


@pytest.fixture
async def stores(redis_server: EmbeddedRedis) -> AsyncIterator[tuple[SharedStore, SharedStore]]:
    pair = tuple(
        SharedStore(redis_server.url, prefix="t", read_timeout_s=1.0, on_error=lambda kind: None) for _ in range(2)
    )
    for store in pair:
        store.start()
    yield pair[0], pair[1]
    for store in pair:
        await store.aclose()


def replica(store: SharedStore, path: Path | None = None) -> Ledger:
    return Ledger(entries=100, ttl_s=TTL_S, store=store, path=path)


def chosen() -> Decision:
    """As the shipped router decides."""
    names = ("a", "b", "c")
    view = PoolView(tuple((ExpertSpec(name, "fake", "fake", generalist=name == "a"), ExpertState()) for name in names))
    request = RouteRequest(_IDS.new(), "Write a Python function that sorts.", 12, required=frozenset({Capability.CHAT}))
    return load_router("default").decide(request, view)


def named() -> Decision:
    return Decision(_IDS.new(), "a", (), Reason.NAMED, None, "r", "hash")


def outcome(decision: Decision, **more: Any) -> Outcome:
    return Outcome(decision.id, "a", 200, 10, 2, 0.001, 0.5, Source.ESTIMATED, 1.25, 2.5, **more)


def told(tenant: str, decision: Decision, became: Outcome) -> Any:
    return orjson.loads(orjson.dumps(Entry(tenant, decision, became).to_record()))


async def test_another_replica_finds_what_the_first_would_tell(stores: tuple[SharedStore, SharedStore]) -> None:
    first, second = map(replica, stores)
    decision = chosen()
    assert decision.candidates, "a decision with nothing to tell of would prove little"
    cases = [
        (decision, outcome(decision)),
        *((one, outcome(one)) for one in (again(decision, _IDS.new()), again(decision, _IDS.new()), named(), named())),
        *((one, outcome(one, calls=CALLS)) for one in (chosen(),)),
        *((one, outcome(one, shadow=CALLS[1])) for one in (named(),)),
        *((one, Outcome(one.id, "b", 499)) for one in (named(),)),
    ]
    for one, became in cases:
        first.finish(first.record("tenant", one), became)
    for one, became in cases:
        assert await second.find("tenant", one.id) == told("tenant", one, became)
        assert await second.find("other", one.id) is None
        assert await second.find("other", one.id, any_tenant=True) is not None


async def test_repeated_decisions_share_one_record_of_their_explanation(
    redis_server: EmbeddedRedis, stores: tuple[SharedStore, SharedStore]
) -> None:
    ledger = replica(stores[0])
    first = chosen()
    # Of the same four seconds, as the ids say.
    for number in range(50):
        one = again(first, f"dec_{'0' * 9}{number:023x}")
        ledger.finish(ledger.record("tenant", one), outcome(one))
    client = redis.Redis.from_url(redis_server.url)
    for _ in range(100):
        if client.exists("t:ledger:000000000"):
            break
        await asyncio.sleep(0.01)
    fields = client.hgetall("t:ledger:000000000")
    assert len(fields) == 51
    assert sum(name.startswith(b"told:") for name in fields) == 1
    assert max(len(value) for name, value in fields.items() if not name.startswith(b"told:")) < 160
    assert 0 < client.ttl("t:ledger:000000000") <= TTL_S
    assert b"tenant" not in b"".join(itertools.chain(*fields.items()))
    client.close()


async def test_a_redis_that_was_emptied_knows_the_next_repeated_decision(
    redis_server: EmbeddedRedis, stores: tuple[SharedStore, SharedStore]
) -> None:
    first, second = map(replica, stores)
    decision = chosen()
    client = redis.Redis.from_url(redis_server.url)
    for _ in range(2):
        one = again(decision, _IDS.new())
        became = outcome(one)
        first.finish(first.record("tenant", one), became)
        assert await second.find("tenant", one.id) == told("tenant", one, became)
        client.flushdb()
    client.close()


async def test_the_first_judgement_stands_at_every_replica(
    stores: tuple[SharedStore, SharedStore], tmp_path: Path
) -> None:
    first, second = replica(stores[0]), replica(stores[1], tmp_path / "outcomes.jsonl")
    decision = chosen()
    first.finish(first.record("tenant", decision), outcome(decision))
    assert await second.judge("other", decision.id, 0.1, None) is None
    judged = await second.judge("tenant", decision.id, 0.25, "too short")
    assert judged is not None
    assert (judged.expert, judged.before) == ("a", None)
    assert judged.lesson is not None
    score = next(score for score in decision.explanation.scores if score.expert == "a")
    assert judged.lesson.predicted == score.quality - score.learned
    # The first one knows as soon as it is written.
    for _ in range(100):
        found = await second.find("tenant", decision.id)
        if found is not None and found["outcome"]["quality"] is not None:
            break
        await asyncio.sleep(0.01)
    assert found is not None
    assert found["comment"] == "too short"
    again_judged = await first.judge("tenant", decision.id, 0.75, None)
    assert again_judged is not None
    assert again_judged.before == 0.25
    # A call made to learn is added without loss of the judgement.
    await first.shadowed("tenant", decision.id, CALLS[1])
    for _ in range(100):
        found = await second.find("tenant", decision.id)
        if found is not None and "shadow" in found["outcome"]:
            break
        await asyncio.sleep(0.01)
    assert found is not None
    assert found["outcome"]["quality"] == 0.25
    assert found["outcome"]["shadow"]["verdict"] == "failed"
    second.close()
    (line,) = (tmp_path / "outcomes.jsonl").read_text("utf-8").splitlines()
    written = orjson.loads(line)
    assert (written["tenant"], written["comment"], written["outcome"]["quality"]) == ("tenant", "too short", 0.25)


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"[1]", b'[2,"x",[],[]]', b'[1,"x",[],[]]', b'[1,"x",null,null]', b'[1,"x",[1],"gone"]', b"\xff"],
)
async def test_a_record_of_another_version_is_nothing(
    redis_server: EmbeddedRedis, stores: tuple[SharedStore, SharedStore], value: bytes
) -> None:
    client = redis.Redis.from_url(redis_server.url)
    decision_id = _IDS.new()
    client.hset(f"t:ledger:{decision_id[4:13]}", decision_id[13:], value)
    assert await replica(stores[0]).find("x", decision_id, any_tenant=True) is None
    client.close()


async def test_what_was_not_written_is_written_once_redis_is_back(
    redis_server: EmbeddedRedis, stores: tuple[SharedStore, SharedStore]
) -> None:
    first, second = map(replica, stores)
    before = named()
    first.finish(first.record("tenant", before), outcome(before))
    assert await second.find("tenant", before.id) is not None
    await asyncio.to_thread(redis_server.stop)
    during = named()
    first.finish(first.record("tenant", during), outcome(during))
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(redis_server.start)
    for _ in range(1000):
        if await second.find("tenant", during.id) is not None:
            break
        await asyncio.sleep(0.01)
    assert await second.find("tenant", during.id) == told("tenant", during, outcome(during))
