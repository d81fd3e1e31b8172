"""The figures of one run of the bench."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from pointsman.evals.bench.pieces import StreamMeasurement

#: Ends the names of our cases that run without Redis.
REDIS_OFF: Final = ", Redis off"


@dataclass(frozen=True, slots=True)
class Case:
    """One server under one load: medians over the rounds.

    Attributes:
        name: What was measured.
        per_s: Requests answered per second.
        p50_ms: Median latency under this (saturating) load.
        p99_ms: 99th percentile of it.
        cpu_us: Processor time of the server per request, in microseconds.
    """

    name: str
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(slots=True)
class Results:
    """All figures; what was not measured is NaN or empty.

    Attributes:
        seconds, rounds, connections: How it was measured.
        cases: Throughput, ours first.
        pieces: Streams, ours first.
        by_connections: Connections -> repeated prompt.
        by_words: Words of a fresh prompt -> fresh prompts.
        by_experts: Experts in the pool -> fresh prompts.
        by_workers: Workers -> repeated prompt, on both cores.
        profile: Load -> part of the gateway -> microseconds per request.
        soak_asked: Requests of the soak that were asked for.
        soak: Requests so far -> resident megabytes.
        stream_soak: The same over streams.
    """

    seconds: float
    rounds: int
    connections: int
    cases: list[Case] = field(default_factory=list)
    pieces: list[StreamMeasurement] = field(default_factory=list)
    by_connections: dict[int, Case] = field(default_factory=dict)
    by_words: dict[int, Case] = field(default_factory=dict)
    by_experts: dict[int, Case] = field(default_factory=dict)
    by_workers: dict[int, Case] = field(default_factory=dict)
    profile: dict[str, dict[str, float]] = field(default_factory=dict)
    soak_asked: int = 0
    soak: list[tuple[int, float]] = field(default_factory=list)
    stream_soak: list[tuple[int, float]] = field(default_factory=list)
    soak_streams: int = 0
    ready_s: float = math.nan
    idle_mb: float = math.nan
    after_mb: float = math.nan
    half_load_per_s: float = math.nan
    added_p50_ms: float = math.nan
    added_p99_ms: float = math.nan
    streams: int = 0
    streams_broken: int = 0
    direct_gap_ms: float = math.nan
    gap_ms: float = math.nan
    streams_mb: float = math.nan

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Results:
        """From JSON, which knows neither NaN nor numbers as keys."""
        values = {each.name: found[each.name] for each in fields(cls) if found.get(each.name) is not None}
        values["cases"] = [Case(**case) for case in found["cases"]]
        values["pieces"] = [StreamMeasurement(**pieces) for pieces in found["pieces"]]
        for name in ("by_connections", "by_words", "by_experts", "by_workers"):
            values[name] = {int(at): Case(**case) for at, case in found[name].items()}
        return cls(**values)

    def per_s(self, name: str) -> float:
        """Requests per second of the case of this name; NaN without it."""
        return next((case.per_s for case in self.cases if case.name == name), math.nan)

    def cpu_us(self, name: str) -> float:
        """Processor time per request of the case of this name; NaN without it."""
        return next((case.cpu_us for case in self.cases if case.name == name), math.nan)

    @property
    def peer(self) -> str:
        """What ours is compared with: sglang-router at its fastest. Empty where it is not there."""
        names = [*(case.name for case in self.cases), *(pieces.name for pieces in self.pieces)]
        return next((name for name in names if name.startswith("sglang-router") and "round_robin" in name), "")

    def ratio(self, name: str) -> float:
        """Its throughput as a multiple of the peer's; NaN without one."""
        return self.per_s(name) / self.per_s(self.peer) if self.peer else math.nan

    def cpu_ratio(self, name: str) -> float:
        """Its processor time per request as a multiple of the peer's; NaN without one."""
        return self.cpu_us(name) / self.cpu_us(self.peer)

    def piece_ratio(self, name: str) -> float:
        """Its processor time for a piece as a multiple of the peer's; NaN without one."""
        costs = {pieces.name: pieces.cpu_us for pieces in self.pieces}
        return costs.get(name, math.nan) / costs.get(self.peer, math.nan)
