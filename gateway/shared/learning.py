"""Learning from judged answers at run time: the tallies of all replicas, and the corrections that follow from them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from pointsman.gateway.shared.store import SharedStore
from pointsman.routers.estimators.online import Corrections, Tally, merged

_EVERY_S: Final = 2.0
#: Half-lives after which a tally weighs a thousandth, and is dropped.
_FORGOTTEN: Final = 10.0


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """A judged answer, as far as one can learn from it.

    Attributes:
        expert: Who answered.
        posterior: Of the prompt's categories.
        predicted: Quality that was predicted before anything was learned.
        quality: As judged, in [0, 1].
        weight: How much it counts.
    """

    expert: str
    posterior: Mapping[str, float]
    predicted: float
    quality: float
    weight: float = 1.0


class Learning:
    """The corrections that decisions are made with.

    Every replica keeps its own tally and posts it under its own name, so that a post repeated or lost does no harm;
    the tallies of the others are added again each time.

    Args:
        artifact_hash: Of the router whose predictions are corrected; another router's tallies are not mixed in.
        half_life_s: Of a judgement.
        replica: A name no other process has.
        store: Where replicas tell each other; None to learn alone.
        clock: Seconds of a wall clock, the same for all replicas.
    """

    def __init__(
        self,
        *,
        artifact_hash: str,
        half_life_s: float,
        replica: str,
        store: SharedStore | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._half_life_s = half_life_s
        self._replica = replica
        self._store = store
        self._clock = clock
        digest = hashlib.blake2b(f"{artifact_hash} {half_life_s}".encode(), digest_size=8).hexdigest()
        self._key = f"learned:{digest}"
        self._own = Tally(as_of_s=clock())
        self._others: tuple[Tally, ...] = ()
        self._forget: tuple[str, ...] = ()
        self._corrections: Corrections | None = None

    @property
    def corrections(self) -> Corrections | None:
        """What is known now; None before the first judgement."""
        return self._corrections

    def learn(self, lesson: JudgedAnswer) -> None:
        """Count a judged answer; the next decision is made with it."""
        now = self._own.at(self._clock(), self._half_life_s)
        self._own = now.judged(lesson.expert, lesson.posterior, lesson.quality - lesson.predicted, lesson.weight)
        self._correct()

    async def run(self) -> None:
        """Tell the other replicas and hear of them until cancelled. No request waits for it."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.exchange()

    async def exchange(self) -> None:
        """Once. Corrections fade with time even where nobody else is."""
        now_s = self._clock()
        self._own = self._own.at(now_s, self._half_life_s)
        if self._store is not None:
            found = await self._store.post(
                self._key, self._replica, _encode(self._own), int(_FORGOTTEN * self._half_life_s) + 1, self._forget
            )
            if found is not None:
                heard = {name: tally for name, tally in _read(found).items() if name != self._replica}
                oldest_s = now_s - _FORGOTTEN * self._half_life_s
                self._forget = tuple(name for name, tally in heard.items() if tally.as_of_s < oldest_s)
                self._others = tuple(tally for name, tally in heard.items() if name not in self._forget)
        self._correct()

    def _correct(self) -> None:
        everything = merged((self._own, *self._others), self._half_life_s)
        self._corrections = Corrections(everything) if everything.cells else None


def _encode(tally: Tally) -> bytes:
    cells = [[expert, category, n, r] for (expert, category), (n, r) in tally.cells.items()]
    return orjson.dumps({"as_of_s": tally.as_of_s, "cells": cells})


def _read(found: Mapping[bytes, bytes]) -> dict[str, Tally]:
    """The replicas' tallies; what is not one of ours is left out."""
    tallies = {}
    for name, value in found.items():
        try:
            data = orjson.loads(value)
            cells = {(str(expert), str(category)): (float(n), float(r)) for expert, category, n, r in data["cells"]}
            tallies[name.decode("utf-8", "replace")] = Tally(cells, float(data["as_of_s"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
    return tallies
