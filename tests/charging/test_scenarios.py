"""No work ends without being charged, and no limit is overrun, whatever callers, experts, networks and operators do.

The short form; `make charging` plays ten thousand.
"""

from __future__ import annotations

import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.charging.running import keys, play


@pytest.mark.slow
async def test_what_is_charged_covers_what_was_made_and_keeps_to_the_limits(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keys().items():
        monkeypatch.setenv(name, value)
    async for tally in play(300, seed=1, redis_url=redis_server.url):
        assert not tally.faults
    assert tally.scenarios == 300
    assert tally.made_tokens > 0
    assert {"reported", "worst_case", "nothing"} <= tally.bases.keys()
    assert {"usd", "joules"} <= tally.compared.keys()
