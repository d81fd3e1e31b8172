"""Learning from judged answers at run time: the tallies of all replicas, and the corrections that follow from them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from pointsman.gateway.shared.store import SharedStore
from pointsman.routers.estimators.online import Corrections, Tally, merged

_EVERY_S: Final = 2.0
#: Half-lives after which a tally weighs a thousandth, and is dropped.
_FORGOTTEN: Final = 10.0


#: By tenant.
_Tallies = dict[str, Tally]


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

    Each tenant's judgements correct that tenant's decisions, and nobody else's: whoever judges falsely misleads itself.

    Every replica keeps its own tallies and posts them under its own name, so that a post repeated or lost does no harm;
    what it hears from the others is added anew each time.

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
        digest = hashlib.blake2b(f"{artifact_hash} {half_life_s} by tenant".encode(), digest_size=8).hexdigest()
        self._key = f"learned:{digest}"
        self._names: dict[str, str] = {}
        self._own: _Tallies = {}
        self._others: Sequence[_Tallies] = ()
        self._forget: tuple[str, ...] = ()
        self._corrections: dict[str, Corrections] = {}

    def corrections_of(self, tenant: str) -> Corrections | None:
        """What is known now of a tenant's judgements; None before the first."""
        return self._corrections.get(self._names.get(tenant) or self._name(tenant)) if self._corrections else None

    def learn(self, tenant: str, lesson: JudgedAnswer) -> None:
        """Count an answer that a tenant judged; its next decision is made with it."""
        name, now_s = self._name(tenant), self._clock()
        now = self._own.get(name, Tally(as_of_s=now_s)).at(now_s, self._half_life_s)
        self._own[name] = now.judged(lesson.expert, lesson.posterior, lesson.quality - lesson.predicted, lesson.weight)
        self._correct(name)

    async def run(self) -> None:
        """Tell the other replicas and hear of them until cancelled. No request waits for it."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.exchange()

    async def exchange(self) -> None:
        """Once. Corrections fade with time even where nobody else is."""
        now_s = self._clock()
        self._own = {name: tally.at(now_s, self._half_life_s) for name, tally in self._own.items()}
        if self._store is not None:
            found = await self._store.post(
                self._key,
                self._replica,
                _encode(self._own, now_s),
                int(_FORGOTTEN * self._half_life_s) + 1,
                self._forget,
            )
            if found is not None:
                heard = {name: told for name, told in _read(found).items() if name != self._replica}
                oldest_s = now_s - _FORGOTTEN * self._half_life_s
                self._forget = tuple(name for name, (as_of_s, _) in heard.items() if as_of_s < oldest_s)
                self._others = [tallies for name, (_, tallies) in heard.items() if name not in self._forget]
        for name in {*self._own, *(name for tallies in self._others for name in tallies)}:
            self._correct(name)

    def _correct(self, name: str) -> None:
        told = [tallies[name] for tallies in (self._own, *self._others) if name in tallies]
        everything = merged(told, self._half_life_s)
        if everything.cells:
            self._corrections[name] = Corrections(everything)

    def _name(self, tenant: str) -> str:
        """A tenant as Redis knows it: hashed, so that Redis tells nobody who judged."""
        name = self._names.get(tenant)
        if name is None:
            name = self._names[tenant] = hashlib.blake2b(tenant.encode(), digest_size=12).hexdigest()
        return name


def _encode(tallies: _Tallies, as_of_s: float) -> bytes:
    told = {
        name: [[expert, category, n, r] for (expert, category), (n, r) in tally.cells.items()]
        for name, tally in tallies.items()
    }
    return orjson.dumps({"as_of_s": as_of_s, "tenants": told})


def _read(found: Mapping[bytes, bytes]) -> dict[str, tuple[float, _Tallies]]:
    """The replicas' tallies, and when they weigh so; what is not one of ours is left out."""
    heard = {}
    for replica, value in found.items():
        try:
            data = orjson.loads(value)
            as_of_s = float(data["as_of_s"])
            tallies = {
                str(name): Tally({(str(one), str(kind)): (float(n), float(r)) for one, kind, n, r in cells}, as_of_s)
                for name, cells in data["tenants"].items()
            }
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            continue
        heard[replica.decode("utf-8", "replace")] = as_of_s, tallies
    return heard
