"""What the gateway keeps of turns: by tenant, for a time, within bounds, in Redis where there is one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.shared.turn_cache import TurnCache

TURN = b'{"v":1,"messages":[]}'


def padded(size: int) -> bytes:
    return TURN[:-1] + b" " * (size - len(TURN)) + b"}"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def cache(**fields: Any) -> TurnCache:
    return TurnCache(**{"most_bytes": 4096, "local_bytes": 65536, "ttl_s": 100, "store": None, **fields})


async def test_a_turn_is_its_tenants_alone() -> None:
    turns = cache()
    turns.put("a", "resp_1", TURN)
    assert await turns.get("a", "resp_1") == TURN
    assert await turns.get("b", "resp_1") is None
    assert await turns.get("a", "resp_2") is None
    turns.delete("b", "resp_1")
    assert await turns.get("a", "resp_1") == TURN
    turns.delete("a", "resp_1")
    assert await turns.get("a", "resp_1") is None


async def test_a_turn_lives_from_its_last_use() -> None:
    clock = Clock()
    turns = cache(clock=clock)
    turns.put("a", "used", TURN)
    turns.put("a", "unused", TURN)
    for _ in range(3):
        clock.now_s += 60
        assert await turns.get("a", "used") == TURN
    assert await turns.get("a", "unused") is None
    clock.now_s += 101
    assert await turns.get("a", "used") is None


@pytest.mark.parametrize(("size", "kept"), [(4096, True), (4097, False)])
async def test_a_turn_that_is_too_large_is_not_kept(size: int, kept: bool) -> None:
    turns = cache()
    turns.put("a", "resp_1", padded(size))
    assert (await turns.get("a", "resp_1") is not None) is turns.fits(size) is kept
    nothing = cache(most_bytes=0)
    nothing.put("a", "resp_1", TURN)
    assert await nothing.get("a", "resp_1") is None


async def test_who_keeps_most_gives_way() -> None:
    turns = cache()
    turns.put("quiet", "resp_0", padded(2000))
    for number in range(200):
        turns.put("loud", f"resp_{number}", padded(2000))
    assert await turns.get("quiet", "resp_0") is not None
    held = [number for number in range(200) if await turns.get("loud", f"resp_{number}") is not None]
    assert held == list(range(200 - len(held), 200)), "the oldest went first"
    assert 0 < len(held) <= 65536 // 2000


async def test_what_another_version_kept_is_no_turn() -> None:
    turns = cache()
    turns.put("a", "resp_1", b'{"v":2,"messages":[]}')
    assert await turns.get("a", "resp_1") is None


def store_of(server: EmbeddedRedis) -> SharedStore:
    return SharedStore(str(server.url), prefix="p", read_timeout_s=0.5, on_error=lambda _: None)


async def test_replicas_share_turns_and_their_end(redis_server: EmbeddedRedis) -> None:
    stores = store_of(redis_server), store_of(redis_server)
    for store in stores:
        store.start()
    one, other = (cache(store=store) for store in stores)
    try:
        one.put("a", "resp_1", TURN)
        assert await other.get("a", "resp_1") == TURN, "even where it is still on its way"
        assert await other.get("b", "resp_1") is None
        with redis.Redis.from_url(str(redis_server.url)) as client:
            (key,) = client.keys("*")
            assert b"resp_1" not in key
            assert 0 < client.ttl(key) <= 100
        other.delete("a", "resp_1")
        async with asyncio.timeout(10):
            while await one.get("a", "resp_1") is not None:
                await asyncio.sleep(0.01)
    finally:
        for store in stores:
            await store.aclose()


async def test_without_redis_each_process_knows_its_own(redis_server: EmbeddedRedis) -> None:
    store = store_of(redis_server)
    store.start()
    turns = cache(store=store)
    try:
        turns.put("a", "resp_1", TURN)
        await asyncio.to_thread(redis_server.stop)
        for number in range(5):
            turns.put("a", f"resp_{number}", TURN)
            assert await turns.get("a", f"resp_{number}") == TURN
            assert await turns.get("a", f"resp_{number}0") is None
        assert not turns.reachable
    finally:
        await store.aclose()
