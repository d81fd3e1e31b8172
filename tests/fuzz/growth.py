"""A search for inputs that take long: most tries are small, and what grows too fast is tried at its full size.

A try is a shape, from which an input of any size is made. It is measured at 1 to 6 kB; where even a cost that grows
with the square of the size would stay far below the limit, that is all. Else a quarter of it is measured, too, and
where both foresee too much, one of 20 kB; if that does, too, its full size is tried. One of fifty is tried there
whatever the small one says, since what begins beyond some size is seen nowhere else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.fuzz.hostile import MOST_BYTES, bent

MOST_MS: Final = 100.0
#: From so much on, foreseen for the full size, it is tried there.
_SUSPECT_MS: Final = MOST_MS / 2
_ALL_THE_SAME: Final = 0.02
_SMALL: Final = (10, 12.5)
_MIDDLE: Final = 20_000
_FULL: Final = MOST_BYTES - 1000
_KEPT: Final = 24
_MOST_BENDS: Final = 6
#: What holds the loop for too long has to do so as often.
_AGAIN: Final = 3

Make = Callable[[random.Random, int], bytes]


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """What an input of any size is made from: seeds of chance, of its making and of each way in which it was bent."""

    seed: int
    bends: tuple[int, ...] = ()

    def sized(self, make: Make, size: int) -> bytes:
        """An input of about so many bytes."""
        data = make(random.Random(self.seed), size)
        for bend in self.bends:
            data = bent(random.Random(bend), data, max(len(data), size))
        return data


@dataclass(slots=True)
class Found:
    """What came of a search.

    Attributes:
        tries: Shapes that were tried.
        full: Those of them that were tried at their full size.
        worst: The worst inputs: milliseconds, bytes, shape, and the size it was made with; the worst first.
        suspects: The shapes that are bent further: what is foreseen for their full size, or was measured there.
    """

    tries: int = 0
    full: int = 0
    worst: list[tuple[float, int, Shape, int]] = field(default_factory=list)
    suspects: list[tuple[float, Shape]] = field(default_factory=list)

    def take(self, took_ms: float, data: bytes, shape: Shape, size: int) -> None:
        """One was measured."""
        if len(self.worst) < _KEPT or took_ms > self.worst[-1][0]:
            self.worst = sorted([*self.worst, (took_ms, len(data), shape, size)], reverse=True)[:_KEPT]

    def suspect(self, ms: float, shape: Shape) -> None:
        """So much it takes at its full size, or may take."""
        if len(self.suspects) < _KEPT or ms > self.suspects[-1][0]:
            self.suspects = sorted([*self.suspects, (ms, shape)], reverse=True)[:_KEPT]


def search(
    make: Make,
    measure: Callable[[bytes], float],
    *,
    tries: int,
    seed: int,
    most_s: float = float("inf"),
) -> Found:
    """Look for inputs that take long: half of the shapes are new, half of them bent out of the worst.

    Args:
        make: Makes one of about so many bytes.
        measure: Milliseconds that an input takes.
        tries: How many.
        seed: Of the random numbers.
        most_s: Stop after so long.
    """
    rnd, found, until_s = random.Random(seed), Found(), time.monotonic() + most_s
    base_ms = sorted(measure(make(random.Random(one), 16)) for one in range(9))[4]
    while found.tries < tries and time.monotonic() < until_s:
        found.tries += 1
        shape = Shape(rnd.getrandbits(32))
        if found.suspects and rnd.random() < 0.5:
            worse = rnd.choice(found.suspects)[1]
            shape = Shape(worse.seed, (*worse.bends, rnd.getrandbits(32))[-_MOST_BENDS:])
        foreseen_ms = _foreseen_ms(make, measure, shape, int(2 ** rnd.uniform(*_SMALL)), base_ms, found)
        if foreseen_ms > _SUSPECT_MS or rnd.random() < _ALL_THE_SAME:
            found.full += 1
            foreseen_ms = _measured_ms(make, measure, shape, _FULL, found)[0]
        found.suspect(foreseen_ms, shape)
    return found


def _measured_ms(
    make: Make, measure: Callable[[bytes], float], shape: Shape, size: int, found: Found
) -> tuple[float, int]:
    """Milliseconds and bytes."""
    data = shape.sized(make, size)
    took_ms = measure(data)
    for _ in range(_AGAIN if took_ms > MOST_MS else 0):
        took_ms = min(took_ms, measure(data))
    found.take(took_ms, data, shape, size)
    return took_ms, len(data)


def _foreseen_ms(
    make: Make, measure: Callable[[bytes], float], shape: Shape, size: int, base_ms: float, found: Found
) -> float:
    """What it may take at its full size, from what it takes in small."""
    took_ms, length = _measured_ms(make, measure, shape, size, found)
    over_ms, times = max(0.0, took_ms - base_ms), max(1.0, MOST_BYTES / length)
    if over_ms * times**2 < _SUSPECT_MS:
        return base_ms + over_ms * times
    less_ms, less = _measured_ms(make, measure, shape, size // 4, found)
    foreseen_ms = _fitted_ms(less_ms - base_ms, less, over_ms, length)
    if foreseen_ms > _SUSPECT_MS:
        more_ms, more = _measured_ms(make, measure, shape, _MIDDLE, found)
        foreseen_ms = _fitted_ms(over_ms, length, more_ms - base_ms, more)
    return base_ms + foreseen_ms


def _fitted_ms(less_ms: float, less: int, more_ms: float, more: int) -> float:
    """At its full size, where it grows with the size, and with its square, as between these two."""
    if less * 1.5 > more:
        return max(less_ms, more_ms)  # its size is its own
    each_ms, less_each_ms = max(0.0, more_ms) / more, max(0.0, less_ms) / less
    square = max(0.0, (each_ms - less_each_ms) / (more - less))
    return (each_ms - square * more) * MOST_BYTES + square * MOST_BYTES**2
