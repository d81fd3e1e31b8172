"""The breaker around Redis, with a real Redis behind the fault proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from pointsman.evals.chaos.servers import FaultProxy, Mode, RedisServer
from pointsman.gateway.shared.store import SharedStore

READ_TIMEOUT_S = 0.05


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    server, proxy = RedisServer(), FaultProxy()
    await server.start()
    proxy.upstream_port = server.port
    await proxy.start()
    yield proxy
    await proxy.aclose()
    await server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.SLOW])
async def test_no_request_probes_a_redis_that_does_not_answer(proxy: FaultProxy, mode: Mode) -> None:
    store = SharedStore(
        f"redis://127.0.0.1:{proxy.port}", prefix="t", read_timeout_s=READ_TIMEOUT_S, on_error=lambda _: None
    )
    store.start()
    store.put("key", b"value", 60)
    async with asyncio.timeout(10):
        while await store.get("key") != b"value":
            await asyncio.sleep(0.01)
    proxy.mode = mode
    for _ in range(3):
        assert await store.get("key") is None
    assert not store.available
    # Longer than the probe's interval: a breaker that lets requests probe would make some of them wait.
    end_s = time.monotonic() + 5
    longest_s = 0.0
    while time.monotonic() < end_s:
        began_s = time.perf_counter()
        assert await store.get("key") is None
        longest_s = max(longest_s, time.perf_counter() - began_s)
        await asyncio.sleep(0.005)
    assert longest_s < READ_TIMEOUT_S / 2
    proxy.mode = Mode.PASS
    proxy.cut()
    async with asyncio.timeout(15):
        while await store.get("key") != b"value":
            await asyncio.sleep(0.05)
    assert store.available
    await store.aclose()
