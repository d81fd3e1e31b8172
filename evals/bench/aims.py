"""What the bench holds the gateway to, and how far each run is from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pointsman.evals.bench.results import REDIS_OFF, Results


@dataclass(frozen=True, slots=True)
class FigureBound:
    """A bound on one figure.

    Attributes:
        name: What is measured.
        limit: The bound.
        at_least: Whether the figure must not be under it; otherwise it must not be over it.
        value: Takes the figure from a run; NaN where that run has none.
    """

    name: str
    limit: float
    at_least: bool
    value: Callable[[Results], float]

    def miss(self, value: float) -> float:
        """By which share of the limit a figure misses it; 0 where it is reached."""
        short = self.limit - value if self.at_least else value - self.limit
        return max(0.0, short / self.limit)

    def verdict(self, runs: Sequence[Results]) -> str:
        """In words, over several runs."""
        values = [value for run in runs if not math.isnan(value := self.value(run))]
        missed = [miss for value in values if (miss := self.miss(value)) > 0]
        if not values:
            return "not measured"
        if not missed:
            return "reached"
        often = "" if len(missed) == len(values) else f" in {len(missed)} of {len(values)} runs"
        return f"missed{often}, by {max(missed):.0%} at worst" if max(missed) >= 0.005 else f"missed{often}, barely"


def _beside_peer(name: str) -> Callable[[Results], float]:
    return lambda run: run.ratio(name)


def _redis_costs(name: str) -> Callable[[Results], float]:
    return lambda run: run.cpu_us(name) / run.cpu_us(name + REDIS_OFF)


AIMS: Final = (
    FigureBound("named model, throughput of sglang-router's", 1.0, True, _beside_peer("named model")),
    FigureBound("decision held, throughput of sglang-router's", 0.95, True, _beside_peer("auto, decision held")),
    FigureBound("fresh prompt, throughput of sglang-router's", 0.5, True, _beside_peer("auto, fresh prompt")),
    FigureBound("piece of a stream, CPU of sglang-router's", 1.2, False, lambda run: run.piece_ratio("stream")),
    FigureBound("added at half load, p50, ms", 0.5, False, lambda run: run.added_p50_ms),
    FigureBound("added at half load, p99, ms", 3.0, False, lambda run: run.added_p99_ms),
    FigureBound("named model, CPU of that with Redis off", 1.1, False, _redis_costs("named model")),
    FigureBound("decision held, CPU of that with Redis off", 1.1, False, _redis_costs("auto, decision held")),
    FigureBound("fresh prompt, CPU of that with Redis off", 1.1, False, _redis_costs("auto, fresh prompt")),
    FigureBound("from start to ready, s", 2.0, False, lambda run: run.ready_s),
    FigureBound("2,000 streams, longest pause beyond the expert's, ms", 100.0, False, lambda run: run.gap_ms - 500),
    FigureBound("2,000 streams, resident, MB", 150.0, False, lambda run: run.streams_mb),
)
