"""How one run measures: which cores, how long, and one case of it."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress

from pointsman.evals.bench import wrk
from pointsman.evals.bench.processes import Process
from pointsman.evals.bench.results import Case

SENTENCE: Final = (
    "Write a Python function that merges two sorted lists of integers and returns the merged list, then explain its "
    "time complexity and how it behaves when one of the lists is empty or much longer than the other. "
)


def body(model: str, prompt: str) -> str:
    """A chat completion's request."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]})


NAMED: Final = body("fake", SENTENCE * 2)
HELD: Final = body("auto", SENTENCE * 2)
FRESH: Final = body("auto", f"{wrk.FRESH} {SENTENCE * 2}")


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How to measure.

    Attributes:
        server_core: Core of the server under measurement.
        other_core: Core of the load and the upstream.
        seconds: Length of one measurement.
        rounds: How often each case is measured.
        connections: Of the load generator.
        folder: For settings and logs.
        progress: Shows how far it is.
    """

    server_core: int
    other_core: int
    seconds: float
    rounds: int
    connections: int
    folder: Path
    progress: Progress = field(default_factory=lambda: Progress(console=Console(stderr=True), transient=True))

    async def case(
        self,
        name: str,
        process: Process,
        body: str,
        *,
        connections: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Case:
        """One server under one load, once.

        Raises:
            click.ClickException: A request failed.
        """
        load = await self.load(process, body, self.seconds, connections=connections, headers=headers)
        if load.failed:
            raise click.ClickException(
                f"{name}: {load.failed} of {load.requests} requests failed; its figures mean nothing"
            )
        return Case(name, load.per_s, load.p50_ms, load.p99_ms, load.cpu_us)

    async def load(
        self,
        process: Process,
        body: str,
        seconds: float,
        *,
        connections: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> wrk.WrkResult:
        """What wrk saw of one server."""
        return await wrk.drive(
            process.url,
            body,
            # A prompt must not be found in a cache that an earlier run has filled.
            salt=os.urandom(4).hex(),
            seconds=seconds,
            connections=connections or self.connections,
            core=self.other_core,
            pid=process.pid,
            folder=self.folder,
            headers=headers,
        )


def median(runs: Sequence[Case]) -> Case:
    """Of each figure by itself."""

    def of(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    return Case(runs[0].name, of("per_s"), of("p50_ms"), of("p99_ms"), of("cpu_us"))
