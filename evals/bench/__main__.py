"""`python -m evals.bench`: start-up, memory, throughput and latency of the gateway, beside an installed peer.

The server under measurement has one core; upstream and load generator share another. Every case runs in every round,
one after the other, so that a slow moment of the machine hits all alike; the median over rounds is reported. Figures
include the server's HTTP, parsing, deciding and proxying; the upstream answers at once with a short body.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from evals.bench.load import Load, drive
from evals.bench.processes import Process, free_port, serving

_PROMPT = (
    "Write a Python function that merges two sorted lists of integers and returns the merged list, then explain its "
    "time complexity and how it behaves when one of the lists is empty or much longer than the other. "
)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        name: In the table.
        url: Server.
        bodies: Makes the request bodies.
    """

    name: str
    url: str
    bodies: Callable[[], Iterator[bytes]]


def _body(model: str, prompt: str, *, stream: bool = False) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}).encode()


def _same(model: str, *, stream: bool = False) -> Callable[[], Iterator[bytes]]:
    body = _body(model, _PROMPT * 2, stream=stream)
    return lambda: itertools.repeat(body)


def _fresh(model: str) -> Callable[[], Iterator[bytes]]:
    def bodies() -> Iterator[bytes]:
        # Random, so that a second round does not find the first one's prompts in a cache.
        salt = os.urandom(4).hex()
        return (_body(model, f"{_PROMPT * 2}{salt} {number}") for number in itertools.count())

    return bodies


def _config(upstream: str) -> dict[str, object]:
    experts = [
        {
            "name": name,
            "backend": "openai_http",
            "model": "fake",
            "base_url": upstream,
            "quality_prior": {"*": prior},
            "max_concurrency": 512,
            "generalist": name == "fake",
        }
        for name, prior in (("fake", 0.6), ("second", 0.5), ("third", 0.4), ("fourth", 0.3), ("fifth", 0.2))
    ]
    return {"pool": {"experts": experts, "probe_interval_s": 0}, "redis": {"embedded": False}}


@contextlib.asynccontextmanager
async def _servers(folder: Path, server_core: int, other_core: int) -> AsyncIterator[dict[str, Process]]:
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        command = [sys.executable, "-m", "experts.backends.fake", "--port", str(port), "--reply", "ok"]
        upstream = await stack.enter_async_context(
            serving(command, port, ready_path="/health", cores=[other_core], log=folder / "upstream.log")
        )
        processes = {"upstream": upstream}
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_config(upstream.url)), "utf-8")
        port = free_port()
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config), "--port", str(port)]
        processes["pointsman"] = await stack.enter_async_context(
            serving(command, port, ready_path="/ready", cores=[server_core], log=folder / "pointsman.log")
        )
        if _installed("sglang_router"):
            port = free_port()
            command = [
                sys.executable, "-m", "sglang_router.launch_router", "--worker-urls", upstream.url,
                "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
                "--prometheus-port", str(free_port()),
            ]  # fmt: skip
            processes["sglang-router"] = await stack.enter_async_context(
                serving(command, port, ready_path="/health", cores=[server_core], log=folder / "sglang-router.log")
            )
        yield processes


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _cases(processes: dict[str, Process]) -> list[Case]:
    ours = processes["pointsman"].url
    cases = [
        Case("direct to upstream", processes["upstream"].url, _same("fake")),
        Case("pointsman, named model", ours, _same("fake")),
        Case("pointsman, auto, fresh prompt", ours, _fresh("auto")),
        Case("pointsman, auto, cached", ours, _same("auto")),
        Case("pointsman, auto, cached, streamed", ours, _same("auto", stream=True)),
    ]
    if "sglang-router" in processes:
        cases.append(Case("sglang-router", processes["sglang-router"].url, _same("fake")))
    return cases


async def _measure(seconds: float, rounds: int, concurrency: int) -> dict[str, object]:
    cores = sorted(os.sched_getaffinity(0))
    server_core, other_core = cores[0], cores[-1]
    os.sched_setaffinity(0, [other_core])
    with tempfile.TemporaryDirectory() as folder:
        async with _servers(Path(folder), server_core, other_core) as processes:
            idle_mb = processes["pointsman"].resident_mb()
            cases = _cases(processes)
            loads: dict[str, list[Load]] = {case.name: [] for case in cases}
            with Progress(console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task("Measuring", total=len(cases) * rounds)
                for _ in range(rounds):
                    for case in cases:
                        loads[case.name].append(
                            await drive(case.url, case.bodies, seconds=seconds, concurrency=concurrency)
                        )
                        progress.advance(task)
            peer = (
                statistics.median(load.per_s for load in loads["sglang-router"]) if "sglang-router" in loads else None
            )
            return {
                "setting": {
                    "seconds": seconds, "rounds": rounds, "concurrency": concurrency,
                    "cores": {"server": server_core, "upstream and load": other_core},
                },
                "pointsman": {
                    "ready_s": processes["pointsman"].ready_s,
                    "resident_mb_idle": idle_mb,
                    "resident_mb_after": processes["pointsman"].resident_mb(),
                },
                "cases": {name: _summary(runs, peer) for name, runs in loads.items()},
            }  # fmt: skip


def _summary(runs: list[Load], peer_per_s: float | None) -> dict[str, float | None]:
    per_s = statistics.median(load.per_s for load in runs)
    return {
        "requests_per_s": per_s,
        "requests_per_s_least": min(load.per_s for load in runs),
        "requests_per_s_most": max(load.per_s for load in runs),
        "ratio_to_sglang_router": None if peer_per_s is None else per_s / peer_per_s,
        "p50_ms": statistics.median(load.percentile_ms(50) for load in runs),
        "p99_ms": statistics.median(load.percentile_ms(99) for load in runs),
        "failed": sum(load.failed for load in runs),
    }


@click.command()
@click.option("--seconds", default=3.0, show_default=True, help="Length of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="How often each case is measured; the median is shown.")
@click.option("--concurrency", default=32, show_default=True, help="Connections of the load generator.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file too.")
def main(seconds: float, rounds: int, concurrency: int, json_path: Path | None) -> None:
    """Measure the gateway's own overhead on this machine."""
    if len(os.sched_getaffinity(0)) < 2:
        raise click.ClickException("the server and the load generator need a core each")
    report = uvloop.run(_measure(seconds, rounds, concurrency))
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    _show(report)


def _show(report: dict[str, object]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title="One core for the server; closed loop", title_justify="left")
    for column in ("case", "requests/s", "least..most", "/ sglang-router", "p50 ms", "p99 ms", "failed"):
        table.add_column(column, justify="left" if column == "case" else "right")
    cases = report["cases"]
    assert isinstance(cases, dict)  # noqa: S101  # as _measure makes it
    for name, row in cases.items():
        ratio = row["ratio_to_sglang_router"]
        table.add_row(
            name,
            f"{row['requests_per_s']:.0f}",
            f"{row['requests_per_s_least']:.0f}..{row['requests_per_s_most']:.0f}",
            "-" if ratio is None else f"{ratio:.2f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            str(row["failed"]),
        )
    console.print(table)
    ours = report["pointsman"]
    assert isinstance(ours, dict)  # noqa: S101  # as _measure makes it
    console.print(
        f"With a remote pool: ready after {ours['ready_s']:.2f} s, {ours['resident_mb_idle']:.0f} MB resident "
        f"when idle, {ours['resident_mb_after']:.0f} MB after the load"
    )


if __name__ == "__main__":
    main()
