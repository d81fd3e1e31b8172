"""Two levels on a real Redis: what is shared dies when it should, wherever it was read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.shared.store import SharedStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SharedStore]:
    server = EmbeddedRedis(tmp_path)
    assert await asyncio.to_thread(server.start)
    store = SharedStore(server.url, prefix="t", read_timeout_s=1.0, on_error=lambda kind: None)
    store.start()
    yield store
    await store.aclose()
    await asyncio.to_thread(server.stop)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def cache(store: SharedStore | None, clock: Clock, entries: int = 2) -> Sessions:
    return Sessions(entries=entries, ttl_s=100, store=store, clock=clock, wall_clock=clock)


async def shared(reader: Sessions, key: str) -> str | None:
    """What another process finds, once it is written."""
    found = None
    for _ in range(100):
        found = await reader.get_shared(key)
        if found is not None:
            break
        await asyncio.sleep(0.01)
    return found


async def test_what_another_replica_finds_lives_no_longer_than_where_it_was_put(store: SharedStore) -> None:
    clock = Clock()
    writer, reader = cache(store, clock), cache(store, clock)
    writer.put("k", "expert")
    clock.now_s += 60
    assert await shared(reader, "k") == "expert"
    assert reader.get_local("k") == "expert"
    clock.now_s += 39
    assert reader.get_local("k") == "expert"
    clock.now_s += 2
    assert reader.get_local("k") is None
    assert await reader.get_shared("k") is None, "though Redis has it still"


async def test_a_value_of_another_version_is_nothing(store: SharedStore) -> None:
    reader = cache(store, Clock())
    store.put("session:k", b"short", 60)
    store.put("session:l", b'{"v": 2, "a": 1}', 60)
    await asyncio.sleep(0.2)
    assert await store.get("session:k") == b"short"
    assert await reader.get_shared("k") is None
    assert await reader.get_shared("l") is None


def test_the_oldest_leaves_when_it_is_full() -> None:
    clock = Clock()
    local = cache(None, clock)
    for key in ("a", "b", "c"):
        local.put(key, key)
    assert [local.get_local(key) for key in ("a", "b", "c")] == [None, "b", "c"]


async def test_what_this_process_put_since_is_newer_than_what_redis_has_heard(store: SharedStore) -> None:
    clock = Clock()
    writer, reader = cache(store, clock), cache(store, clock)
    writer.put("k", "before")
    assert await shared(reader, "k") == "before"
    clock.now_s += 1
    writer.put("k", "after")
    assert await writer.get_shared("k") == "after", "the write is still on its way"
    clock.now_s += 1
    reader.put("k", "elsewhere")
    async with asyncio.timeout(5):
        while await writer.get_shared("k") != "elsewhere":
            await asyncio.sleep(0.01)
