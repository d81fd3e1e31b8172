"""`python -m tests.fuzz.timing`: looks for what a client can send, in 64 kB, that holds the event loop for over 100 ms.

Everything that reads a request is switched on. Inputs that took longest are bent further. Measured is the CPU time of
the loop's own thread in one turn of the loop, from the bytes of the client to those for it, with a fake expert between;
what took too long is tried again before it counts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.e2e.running import fake
from tests.fuzz.connection import Gateway
from tests.fuzz.held import MeasuredLoop, held_ms
from tests.fuzz.hostile import FORMATS, MOST_BYTES, bent

MOST_MS: Final = 100.0
#: How long an answer that is waited for may take. Nothing here waits for anything but the loop.
_PATIENCE_S: Final = 0.5
_KEPT: Final = 12

_QUICK: Final[dict[str, Any]] = {
    "context_window_tokens": 10_000_000,
    "options": {"reply": "ok", "tokens_per_s": 1_000_000},
}
#: All that reads what a client says.
TREE: Final[dict[str, Any]] = {
    "pool": {"experts": [fake("one", generalist=True, **_QUICK), fake("two", **_QUICK)]},
    "router": {"flags": True},
    "safety": {"enabled": True},
    "null_experts": {
        "calculator": True,
        "answers": {"exact": True, "semantic": True, "any_temperature": True},
        "constants": {"entries": [{"ask": ["When are you open?"], "answer": "From 9 to 5."}]},
        "refusal": {"topics": [{"name": "weather", "examples": ["What is the weather?"]}]},
    },
    "conversations": {"derive_sessions": True},
    "learning": {"enabled": True},
    "redis": {"embedded": False},
}  # fmt: skip


@cache
def gateway() -> tuple[Gateway, MeasuredLoop]:
    """One for all inputs."""
    loop = MeasuredLoop()
    return Gateway(TREE, loop), loop


def client_ms(data: bytes) -> float:
    """For how long what a client says holds the loop at the most, in CPU milliseconds."""
    one, loop = gateway()

    async def said(data: bytes) -> None:
        await one.connection(b"\x55\xaa" if len(data) % 2 else b"", data, _PATIENCE_S)
        await asyncio.sleep(0)

    return held_ms(said, data, loop)


@dataclass(slots=True)
class Found:
    """What came of a search.

    Attributes:
        tries: Inputs that were tried.
        worst: The worst ones, milliseconds first, the worst first.
    """

    tries: int = 0
    worst: list[tuple[float, bytes]] = field(default_factory=list)

    def take(self, took_ms: float, data: bytes) -> None:
        """One was tried."""
        self.tries += 1
        if len(self.worst) < _KEPT or took_ms > self.worst[-1][0]:
            self.worst = sorted([*self.worst, (took_ms, data)], reverse=True)[:_KEPT]


def search(
    make: Callable[[random.Random, int], bytes],
    *,
    tries: int,
    seed: int,
    most_s: float = float("inf"),
    measure: Callable[[bytes], float] = client_ms,
) -> Found:
    """Look for inputs that take long: half of them new, half of them bent out of the worst.

    Args:
        make: Makes one of about so many bytes.
        tries: How many.
        seed: Of the random numbers.
        most_s: Stop after so long.
        measure: Milliseconds that an input takes.
    """
    rnd, every, until_s = random.Random(seed), Found(), time.monotonic() + most_s
    while every.tries < tries and time.monotonic() < until_s:
        if every.worst and rnd.random() < 0.5:
            data = bent(rnd, rnd.choice(every.worst)[1])
        else:
            size = MOST_BYTES if rnd.random() < 0.4 else int(2 ** rnd.uniform(4, 16))
            data = make(rnd, min(size, MOST_BYTES) - 1000 if size > 2000 else size)
        every.take(measure(data), data)
    return every


def main() -> int:
    """Search each format; the status is 1 where something holds the loop for too long."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz.timing")
    parser.add_argument("formats", nargs="*", help=f"of {', '.join(FORMATS)}; all, where none is named")
    parser.add_argument("--tries", type=int, default=200_000, help="of each format (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each format at the most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the worst input of each format")
    asked = parser.parse_args()
    slow = False
    for name in asked.formats or FORMATS:
        began_s = time.monotonic()
        found = search(FORMATS[name], tries=asked.tries, seed=asked.seed, most_s=asked.seconds)
        worst_ms, data = found.worst[0]
        slow |= worst_ms > MOST_MS
        took_s = time.monotonic() - began_s
        told = f"{name}: {found.tries} tries in {took_s:.0f} s, the worst {worst_ms:.1f} ms with {len(data)} bytes"
        print(told, flush=True)  # noqa: T201  # what the command is for
        if asked.keep is not None:
            asked.keep.mkdir(parents=True, exist_ok=True)
            (asked.keep / name).write_bytes(data)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
