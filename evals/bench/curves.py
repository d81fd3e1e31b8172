"""What only the page needs once: cost against connections, words, experts and workers, many streams, and memory."""

from __future__ import annotations

import click

from pointsman.evals.bench import rig, wrk
from pointsman.evals.bench.results import Results
from pointsman.evals.bench.run import FRESH, HELD, NAMED, SENTENCE, BenchSettings, body
from pointsman.evals.bench.streams import concurrent_streams

_STREAMS = 2000
_STREAM_TOKENS = 16


async def curves(run: BenchSettings, results: Results) -> None:
    """Cost against what a user may have more of."""
    task = run.progress.add_task("Curves", total=14)
    async with rig.instant_upstream(run.folder, run.other_core) as upstream:
        async with rig.gateway(run.folder, upstream.url, run.server_core) as ours:
            for connections in (1, 8, 64, 256):
                results.by_connections[connections] = await run.case(
                    f"{connections} connections", ours, HELD, connections=connections
                )
                run.progress.advance(task)
            for words in (20, 200, 1000, 5000):
                prompt = f"{wrk.FRESH} " + " ".join(SENTENCE.split()[n % 35] for n in range(words))
                results.by_words[words] = await run.case(f"{words} words", ours, body("auto", prompt))
                run.progress.advance(task)
        for experts in (2, 10, 100, 1000):
            async with rig.gateway(run.folder, upstream.url, run.server_core, experts=experts, concurrency=512) as one:
                results.by_experts[experts] = await run.case(f"{experts} experts", one, FRESH)
                run.progress.advance(task)
        cores = {run.server_core, run.other_core}
        for workers in (1, 2):
            async with rig.gateway(run.folder, upstream.url, *cores, workers=workers) as ours:
                results.by_workers[workers] = await run.case(f"{workers} workers", ours, HELD)
                run.progress.advance(task)


async def many_streams(run: BenchSettings, results: Results) -> None:
    """Pauses and memory of many streams at once."""
    async with (
        rig.streaming_upstream(run.folder, run.other_core, tokens=_STREAM_TOKENS, tokens_per_s=2.0) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        direct = await concurrent_streams(upstream.url, "fake", _STREAMS, ramp_s=4.0)
        through = await concurrent_streams(ours.url, "fake", _STREAMS, ramp_s=4.0)
        results.streams = _STREAMS
        results.streams_broken = through.broken
        results.direct_gap_ms = direct.percentile_ms(100)
        results.gap_ms = through.percentile_ms(100)
        results.streams_mb = ours.resident_mb()


async def soak(run: BenchSettings, results: Results, requests: int) -> None:
    """Memory over many requests: a third of the time each for named, repeated and fresh prompts."""
    async with (
        rig.instant_upstream(run.folder, run.other_core) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        results.soak_asked, done = requests, 0
        task = run.progress.add_task("Soak", total=requests)
        results.soak.append((0, ours.resident_mb()))
        while done < requests:
            for load in (NAMED, HELD, FRESH):
                seen = await run.load(ours, load, 5)
                if seen.failed:
                    raise click.ClickException(f"soak: {seen.failed} of {seen.requests} requests failed")
                done += seen.requests
                run.progress.update(task, completed=min(done, requests))
            results.soak.append((done, ours.resident_mb()))
    await _soak_streams(run, results, requests // 20)


async def _soak_streams(run: BenchSettings, results: Results, streams: int) -> None:
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
