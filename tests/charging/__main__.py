"""`python -m tests.charging`: random requests, experts, faults, reloads and processes; what was charged, and what made.

Charged is at least what the experts made of what a caller asked for, and never more than its limit and what the calls
at once may be off. The status is 0 where that held in all scenarios.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.charging.running import Tally, keys, play


def main() -> int:
    """Play them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m tests.charging")
    parser.add_argument("--scenarios", type=int, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of chance (%(default)s)")
    asked = parser.parse_args()
    os.environ.update(keys())
    # Every fault that is played is told; what counts is said at the end.
    logging.getLogger("pointsman").setLevel(logging.CRITICAL)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        redis = EmbeddedRedis(Path(folder))
        url = redis.url if redis.start() else None
        try:
            tally = asyncio.run(_all(asked.scenarios, asked.seed, url))
        finally:
            redis.stop()
    print(  # noqa: T201  # what the command is for
        f"{tally.scenarios:,} scenarios in {time.monotonic() - began_s:.0f} s ({'with' if url else 'without'} Redis), "
        f"{tally.unheard} gateways too late for it, {tally.reloads} reloads; {tally.made_tokens:,} tokens made; "
        f"limits compared: {dict(tally.compared)}, "
        f"{tally.exhausted:,} of them spent; charges by {dict(tally.bases)}; answers {dict(tally.statuses)}"
    )
    for fault in tally.faults:
        print(f"FAULT {fault}")  # noqa: T201  # likewise
    return 1 if tally.faults else 0


async def _all(scenarios: int, seed: int, redis_url: str | None) -> Tally:
    tally = Tally()
    async for tally in play(scenarios, seed, redis_url):
        print(f"{tally.scenarios:,} scenarios, {len(tally.faults)} faults", end="\r", file=sys.stderr, flush=True)  # noqa: T201  # likewise
    return tally


if __name__ == "__main__":
    sys.exit(main())
