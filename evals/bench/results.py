"""The figures of one run of the bench."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        cases: Throughput, ours first.
        by_connections: Connections -> repeated prompt.
        by_words: Words of a fresh prompt -> fresh prompts.
        by_experts: Experts in the pool -> fresh prompts.
        by_workers: Workers -> repeated prompt, on both cores.
        soak: Requests so far -> resident megabytes.
        stream_soak: The same over streams.
    """

    seconds: float
    rounds: int
    connections: int
    cases: list[Case] = field(default_factory=list)
    by_connections: dict[int, Case] = field(default_factory=dict)
    by_words: dict[int, Case] = field(default_factory=dict)
    by_experts: dict[int, Case] = field(default_factory=dict)
    by_workers: dict[int, Case] = field(default_factory=dict)
    soak: list[tuple[int, float]] = field(default_factory=list)
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
    cpu_us_per_chunk: float = math.nan
    cpu_us_per_more_chunk: float = math.nan
    streams_mb: float = math.nan
    soak_streams: int = 0
    stream_soak: list[tuple[int, float]] = field(default_factory=list)

    @property
    def peer(self) -> Case | None:
        """What ours is compared with: sglang-router as it starts by itself."""
        return next((case for case in self.cases if case.name.endswith("cache_aware")), None)

    def soaked(self, earlier: Mapping[str, Any]) -> None:
        """Take the soak over from an earlier run, where this one has none."""
        if not self.soak and earlier["soak"]:
            self.soak = [(int(requests), float(mb)) for requests, mb in earlier["soak"]]
            self.stream_soak = [(int(streams), float(mb)) for streams, mb in earlier["stream_soak"]]
            self.soak_streams = int(earlier["soak_streams"])

    def ratios(self) -> dict[str, float]:
        """Our own cases -> the ratio."""
        return {case.name: self.ratio(case) for case in self.cases if case.name.startswith(("named", "auto"))}

    def ratio(self, case: Case) -> float:
        """Its throughput as a multiple of the peer's; NaN without one."""
        return math.nan if self.peer is None else case.per_s / self.peer.per_s
