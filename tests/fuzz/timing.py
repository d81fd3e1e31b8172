"""`python -m tests.fuzz.timing`: looks for 64 kB of a client or an expert that hold the event loop for over 100 ms.

Everything that reads a request or an answer is switched on. Shapes that took longest are bent further (`growth.py`).
Measured is the CPU time of the loop's own thread in one turn of the loop (`held.py`): on one side from the bytes of a
client to those for it, with a fake expert between, on the other from the bytes of an expert's connection to those for
the client. What took too long is tried again before it counts.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.fuzz.growth import MOST_MS, Make, search
from tests.fuzz.hostile import FORMATS
from tests.fuzz.hostile_experts import EXPERT_FORMATS
from tests.fuzz.measured_gateway import ExpertHold, client_ms

#: Who speaks -> what is said.
SIDES: Final[Mapping[str, Mapping[str, Make]]] = {"clients": FORMATS, "experts": EXPERT_FORMATS}


def measure_of(side: str, name: str) -> Callable[[bytes], float]:
    """What measures such inputs, in milliseconds."""
    return client_ms if side == "clients" else ExpertHold(name)


def main() -> int:
    """Search each format; the status is 1 where something holds the loop for too long."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz.timing")
    parser.add_argument("formats", nargs="*", help="some of them; all, where none is named")
    parser.add_argument("--from", dest="side", choices=SIDES, help="who speaks; both, where it is not said")
    parser.add_argument("--tries", type=int, default=200_000, help="of each format (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each format at the most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the worst input of each format")
    asked = parser.parse_args()
    sides = [asked.side] if asked.side else list(SIDES)
    known = {name for side in sides for name in SIDES[side]}
    if not known.issuperset(asked.formats):
        parser.error(f"formats are {', '.join(sorted(known))}")
    # What experts do wrong is told, and here nothing else is done.
    logging.getLogger("pointsman").setLevel(logging.CRITICAL)
    slow = False
    for side in sides:
        for name in [name for name in SIDES[side] if name in asked.formats or not asked.formats]:
            make, measure = SIDES[side][name], measure_of(side, name)
            measure(make(random.Random(0), 16))  # makes the gateway
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            found = search(make, measure, tries=asked.tries, seed=asked.seed, most_s=asked.seconds)
            took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
            worst_ms, length, shape, size = found.worst[0]
            slow |= worst_ms > MOST_MS
            print(  # noqa: T201  # what the command is for
                f"{side} {name}: {found.tries:,} tries in {took_s:.0f} s, {found.tries / cpu_s:.0f} a second of CPU, "
                f"{found.full:,} of them in full; the worst {worst_ms:.1f} ms with {length:,} bytes ({shape}, {size})",
                flush=True,
            )
            if asked.keep is not None:
                asked.keep.mkdir(parents=True, exist_ok=True)
                (asked.keep / f"{side}-{name}").write_bytes(shape.sized(make, size))
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
