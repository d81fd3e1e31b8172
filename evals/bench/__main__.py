"""`python -m evals.bench`: what the gateway costs, beside the peers that are installed, in one run.

The server under measurement has one core; wrk and the upstream (nginx with a fixed answer) share the other. Every case
runs in every round, one after the other, so that a slow moment of the machine hits all alike; the median over rounds is
reported, with processor time per request beside throughput. Figures include HTTP on both sides, parsing, deciding,
accounting and proxying, and exclude the expert.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import orjson
import uvloop
from rich.console import Console
from rich.progress import Progress

from evals.bench import rig, wrk
from evals.bench.page import show, write_page
from evals.bench.processes import Process
from evals.bench.results import Case, Results
from evals.bench.streams import concurrent_streams, paced

_SENTENCE = (
    "Write a Python function that merges two sorted lists of integers and returns the merged list, then explain its "
    "time complexity and how it behaves when one of the lists is empty or much longer than the other. "
)
_PROMPT = _SENTENCE * 2
_STREAM_TOKENS = 16


@dataclass(frozen=True, slots=True)
class _Run:
    """How to measure."""

    server_core: int
    other_core: int
    seconds: float
    rounds: int
    connections: int
    folder: Path
    progress: Progress = field(default_factory=lambda: Progress(console=Console(stderr=True), transient=True))


def _body(model: str, prompt: str) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]})


async def _case(run: _Run, name: str, process: Process, body: str, salt: str, connections: int | None = None) -> Case:
    load = await wrk.drive(
        process.url,
        body,
        # A prompt must not be found in a cache that an earlier run has filled.
        salt=f"{salt} {os.urandom(4).hex()}",
        seconds=run.seconds,
        connections=connections or run.connections,
        core=run.other_core,
        pid=process.pid,
        folder=run.folder,
    )
    if load.failed:
        raise click.ClickException(
            f"{name}: {load.failed} of {load.requests} requests failed; its figures mean nothing"
        )
    return Case(name, load.per_s, load.p50_ms, load.p99_ms, load.cpu_us)


async def _throughput(run: _Run, results: Results) -> None:
    """Every case beside the peers."""
    folder, core = run.folder, run.server_core
    async with (
        rig.instant_upstream(folder, run.other_core) as upstream,
        rig.gateway(folder, upstream.url, core) as alone,
        rig.gateway(folder, upstream.url, core, redis=True) as with_redis,
        rig.peers(folder, upstream.url, core) as others,
    ):
        results.ready_s, results.idle_mb = alone.ready_s, alone.resident_mb()
        named, fresh = _body("fake", _PROMPT), _body("auto", f"{wrk.FRESH} {_PROMPT}")
        cases = [
            ("named model", alone, named),
            ("auto, decision held", alone, _body("auto", _PROMPT)),
            ("auto, fresh prompt", alone, fresh),
            ("named model, with Redis", with_redis, named),
            ("auto, decision held, with Redis", with_redis, _body("auto", _PROMPT)),
            ("auto, fresh prompt, with Redis", with_redis, fresh),
            *((name, process, named) for name, process in others.items()),
        ]
        task = run.progress.add_task("Throughput", total=run.rounds * len(cases))
        found: dict[str, list[Case]] = {name: [] for name, _, _ in cases}
        for number in range(run.rounds):
            for name, process, body in cases:
                found[name].append(await _case(run, name, process, body, str(number)))
                run.progress.advance(task)
        results.cases = [_median(runs) for runs in found.values()]
        results.after_mb = alone.resident_mb()
        await _half_load(results, upstream, alone, run)
        for connections in (1, 8, 64, 256):
            results.by_connections[connections] = await _case(
                run, f"{connections} connections", alone, _body("auto", _PROMPT), "c", connections
            )
        for words in (20, 200, 1000, 5000):
            prompt = f"{wrk.FRESH} " + " ".join(_SENTENCE.split()[n % 35] for n in range(words))
            results.by_words[words] = await _case(run, f"{words} words", alone, _body("auto", prompt), "w")


async def _by_experts(run: _Run, results: Results) -> None:
    async with rig.instant_upstream(run.folder, run.other_core) as upstream:
        for experts in (2, 10, 100, 1000):
            async with rig.gateway(run.folder, upstream.url, run.server_core, experts=experts, concurrency=512) as one:
                body = _body("auto", f"{wrk.FRESH} {_PROMPT}")
                results.by_experts[experts] = await _case(run, f"{experts} experts", one, body, "e")


async def _half_load(results: Results, upstream: Process, ours: Process, run: _Run) -> None:
    """Latency at a steady pace well below saturation, beside that of the upstream by itself."""
    # The pacing client runs in this process, on the other core, and cannot pace more: about a quarter of the most.
    most = 3000.0
    direct = await paced(upstream.url, "fake", per_s=most, seconds=run.seconds)
    through = await paced(ours.url, "auto", per_s=most, seconds=run.seconds)
    results.half_load_per_s = most
    results.added_p50_ms, results.added_p99_ms = through[0] - direct[0], through[1] - direct[1]


async def _streams(run: _Run, results: Results, count: int) -> None:
    async with (
        rig.streaming_upstream(run.folder, run.other_core, tokens=_STREAM_TOKENS, tokens_per_s=2.0) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        direct = await concurrent_streams(upstream.url, "fake", count, ramp_s=4.0)
        before_ns = wrk.cpu_ns(ours.pid)
        through = await concurrent_streams(ours.url, "fake", count, ramp_s=4.0)
        results.streams = count
        results.streams_broken = through.broken
        results.direct_gap_ms = direct.percentile_ms(100)
        results.gap_ms = through.percentile_ms(100)
        results.cpu_us_per_chunk = (wrk.cpu_ns(ours.pid) - before_ns) / 1e3 / max(1, len(through.gaps_ms))
        results.streams_mb = ours.resident_mb()


async def _soak(run: _Run, results: Results, requests: int) -> None:
    """Memory over many requests: a third each of named, repeated and fresh prompts."""
    async with (
        rig.instant_upstream(run.folder, run.other_core) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        bodies = [_body("fake", _PROMPT), _body("auto", _PROMPT), _body("auto", f"{wrk.FRESH} {_PROMPT}")]
        done = 0
        task = run.progress.add_task("Soak", total=requests)
        results.soak.append((0, ours.resident_mb()))
        while done < requests:
            for body in bodies:
                load = await wrk.drive(
                    ours.url, body, salt=os.urandom(4).hex(), seconds=5, connections=run.connections,
                    core=run.other_core, pid=ours.pid, folder=run.folder,
                )  # fmt: skip
                if load.failed:
                    raise click.ClickException(f"soak: {load.failed} of {load.requests} requests failed")
                done += load.requests
                run.progress.update(task, completed=min(done, requests))
            results.soak.append((done, ours.resident_mb()))


def _median(runs: list[Case]) -> Case:
    def of(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    return Case(runs[0].name, of("per_s"), of("p50_ms"), of("p99_ms"), of("cpu_us"))


async def _measure(run: _Run, *, quick: bool, soak: int) -> Results:
    os.sched_setaffinity(0, [run.other_core])
    results = Results(seconds=run.seconds, rounds=run.rounds, connections=run.connections)
    with run.progress:
        await _throughput(run, results)
        if not quick:
            await _by_experts(run, results)
            await _streams(run, results, 2000)
        if soak:
            await _soak(run, results, soak)
    return results


@click.command()
@click.option("--seconds", default=4.0, show_default=True, help="Length of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="How often each case is measured; the median is shown.")
@click.option("--connections", default=32, show_default=True, help="Connections of the load generator.")
@click.option("--quick", is_flag=True, help="One round of two seconds, no streams, no pools of many.")
@click.option("--soak", default=0, metavar="REQUESTS", help="Also send so many requests and watch the memory.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page (and its figures) into this folder.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
def main(
    seconds: float, rounds: int, connections: int, quick: bool, soak: int, page: Path | None, json_path: Path | None
) -> None:
    """Measure the gateway's own overhead on this machine, beside its peers."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("the server and the load generator need a core each")
    for program, there in (("wrk", wrk.installed()), ("nginx", rig.nginx_installed())):
        if not there:
            raise click.ClickException(
                f"{program} is not installed; on Debian and Ubuntu: apt-get install wrk nginx-light"
            )
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(asyncio.CancelledError):
        # nginx's worker may be another user, who has to reach its folders.
        Path(folder).chmod(0o755)
        run = _Run(cores[0], cores[-1], 2.0 if quick else seconds, 1 if quick else rounds, connections, Path(folder))
        results = uvloop.run(_measure(run, quick=quick, soak=soak))
        show(results)
        if json_path is not None:
            json_path.write_bytes(orjson.dumps(asdict(results), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
        if page is not None:
            write_page(results, page)


if __name__ == "__main__":
    main()
