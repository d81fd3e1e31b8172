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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import orjson
import uvloop
from rich.console import Console
from rich.progress import Progress

from evals.bench import rig, wrk
from evals.bench.page import show, write_page
from evals.bench.peers import Peer, peers
from evals.bench.processes import Process
from evals.bench.results import Case, Results
from evals.bench.streams import concurrent_streams

_SENTENCE = (
    "Write a Python function that merges two sorted lists of integers and returns the merged list, then explain its "
    "time complexity and how it behaves when one of the lists is empty or much longer than the other. "
)
_PROMPT = _SENTENCE * 2
_STREAM_TOKENS = 16
#: Of paced load: so many that a pause between requests can be counted in whole milliseconds.
_PACED_CONNECTIONS = 96


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


async def _case(
    run: _Run,
    name: str,
    process: Process,
    body: str,
    salt: str,
    connections: int | None = None,
    headers: Mapping[str, str] | None = None,
    pause_ms: int = 0,
) -> Case:
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
        headers=headers,
        pause_ms=pause_ms,
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
        peers(folder, upstream.url, core) as others,
    ):
        results.ready_s, results.idle_mb = alone.ready_s, alone.resident_mb()
        named, fresh = _body("fake", _PROMPT), _body("auto", f"{wrk.FRESH} {_PROMPT}")
        cases = [
            ("named model", Peer(alone), named),
            ("auto, decision held", Peer(alone), _body("auto", _PROMPT)),
            ("auto, fresh prompt", Peer(alone), fresh),
            ("named model, with Redis", Peer(with_redis), named),
            ("auto, decision held, with Redis", Peer(with_redis), _body("auto", _PROMPT)),
            ("auto, fresh prompt, with Redis", Peer(with_redis), fresh),
            *((name, peer, named) for name, peer in others.items()),
        ]
        task = run.progress.add_task("Throughput", total=run.rounds * len(cases))
        found: dict[str, list[Case]] = {name: [] for name, _, _ in cases}
        for number in range(run.rounds):
            for name, peer, body in cases:
                found[name].append(await _case(run, name, peer.process, body, str(number), headers=peer.headers))
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


async def _by_workers(run: _Run, results: Results) -> None:
    cores = {run.server_core, run.other_core}
    async with rig.instant_upstream(run.folder, run.other_core) as upstream:
        for workers in (1, 2):
            async with rig.gateway(run.folder, upstream.url, *cores, workers=workers) as ours:
                body = _body("auto", _PROMPT)
                results.by_workers[workers] = await _case(run, f"{workers} workers", ours, body, "k")


async def _half_load(results: Results, upstream: Process, ours: Process, run: _Run) -> None:
    """Latency at half the throughput of held decisions, beside that of the upstream by itself."""
    held = next(case for case in results.cases if case.name == "auto, decision held")
    pause_ms = round(_PACED_CONNECTIONS / (held.per_s / 2) * 1e3)

    async def paced(name: str, process: Process) -> Case:
        return await _case(run, name, process, _body("auto", _PROMPT), "h", _PACED_CONNECTIONS, pause_ms=pause_ms)

    direct, through = await paced("upstream", upstream), await paced("half load", ours)
    results.half_load_per_s = through.per_s
    results.added_p50_ms, results.added_p99_ms = through.p50_ms - direct.p50_ms, through.p99_ms - direct.p99_ms


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
    results.cpu_us_per_more_chunk = await _per_more_chunk(run)


async def _per_more_chunk(run: _Run) -> float:
    """Processor time of one more piece in a stream: that of long streams less that of short ones."""
    costs: list[tuple[int, float]] = []
    for tokens in (20, 220):
        async with (
            rig.streaming_upstream(run.folder, run.other_core, tokens=tokens, tokens_per_s=40.0) as upstream,
            rig.gateway(run.folder, upstream.url, run.server_core) as ours,
        ):
            await concurrent_streams(ours.url, "fake", 10, ramp_s=0.1)
            before_ns = wrk.cpu_ns(ours.pid)
            seen = await concurrent_streams(ours.url, "fake", 100, ramp_s=0.5)
            costs.append((len(seen.gaps_ms), (wrk.cpu_ns(ours.pid) - before_ns) / 1e3))
    (few, little_us), (many, much_us) = costs
    return (much_us - little_us) / (many - few)


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
    await _soak_streams(run, results, requests // 20)


async def _soak_streams(run: _Run, results: Results, streams: int) -> None:
    """The same over many short streams."""
    async with (
        rig.streaming_upstream(run.folder, run.other_core, tokens=8, tokens_per_s=1000.0) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        batch = 1000
        task = run.progress.add_task("Soak, streams", total=streams)
        while results.soak_streams < streams:
            seen = await concurrent_streams(ours.url, "fake", batch, ramp_s=1.0)
            if seen.broken:
                raise click.ClickException(f"soak: {seen.broken} of {batch} streams broke")
            results.soak_streams += batch
            results.stream_soak.append((results.soak_streams, ours.resident_mb()))
            run.progress.update(task, completed=results.soak_streams)


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
            await _by_workers(run, results)
            await _streams(run, results, 2000)
        if soak:
            await _soak(run, results, soak)
    return results


def _ratios(path: Path) -> dict[str, float]:
    found = orjson.loads(path.read_bytes())
    cases = [Case(**case) for case in found["cases"]]
    return Results(found["seconds"], found["rounds"], found["connections"], cases).ratios()


@click.command()
@click.option("--seconds", default=4.0, show_default=True, help="Length of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="How often each case is measured; the median is shown.")
@click.option("--connections", default=32, show_default=True, help="Connections of the load generator.")
@click.option("--quick", is_flag=True, help="One round of two seconds, no streams, no pools of many.")
@click.option("--soak", default=0, metavar="REQUESTS", help="Also send so many requests and watch the memory.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page (and its figures) into this folder.")
@click.option(
    "--earlier",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Figures of runs before, for the page.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
def main(
    seconds: float,
    rounds: int,
    connections: int,
    quick: bool,
    soak: int,
    page: Path | None,
    earlier: tuple[Path, ...],
    json_path: Path | None,
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
            for path in earlier:
                results.soaked(orjson.loads(path.read_bytes()))
            write_page(results, page, [_ratios(path) for path in earlier])


if __name__ == "__main__":
    main()
