"""No work ends without being charged, and no limit is overrun, whatever callers, experts, networks and operators do.

The short form; `make charging` plays ten thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.charging.running import keys, play


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    assert await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.mark.slow
async def test_what_is_charged_covers_what_was_made_and_keeps_to_the_limits(
    redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keys().items():
        monkeypatch.setenv(name, value)
    async for tally in play(300, seed=1, redis_url=redis.url):
        assert not tally.faults
    assert tally.scenarios == 300
    assert tally.made_tokens > 0
    assert {"reported", "worst_case", "nothing"} <= tally.bases.keys()
    assert {"usd", "joules"} <= tally.compared.keys()
