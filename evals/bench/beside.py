"""The gateway beside its peers: throughput, latency at half load, and what a piece of a stream costs.

Every case runs in every round, one after the other, so that a slow moment of the machine hits all alike.
"""

from __future__ import annotations

import statistics

from pointsman.evals.bench import poisson, rig
from pointsman.evals.bench.peers import Peer, peers
from pointsman.evals.bench.pieces import PIECES_PER_S, StreamMeasurement, cost_of_a_piece, tokens
from pointsman.evals.bench.processes import Process
from pointsman.evals.bench.results import REDIS_OFF, Case, Results
from pointsman.evals.bench.run import FRESH, HELD, NAMED, BenchSettings, median

_PACED_CONNECTIONS = 96


async def throughput(run: BenchSettings, results: Results) -> None:
    """Every case of ours, with Redis as it comes and without, and every peer; then latency at half load."""
    folder, core = run.folder, run.server_core
    async with (
        rig.instant_upstream(folder, run.other_core) as upstream,
        rig.gateway(folder, upstream.url, core) as ours,
        rig.gateway(folder, upstream.url, core, redis=False) as redis_off,
        peers(folder, upstream.url, core) as others,
    ):
        results.ready_s, results.idle_mb = ours.ready_s, ours.resident_mb()
        loads = (("named model", NAMED), ("auto, decision held", HELD), ("auto, fresh prompt", FRESH))
        cases = [
            *((name, Peer(ours), body) for name, body in loads),
            *((name + REDIS_OFF, Peer(redis_off), body) for name, body in loads),
            *((name, peer, NAMED) for name, peer in others.items()),
        ]
        task = run.progress.add_task("Throughput", total=run.rounds * len(cases))
        found: dict[str, list[Case]] = {name: [] for name, _, _ in cases}
        for _ in range(run.rounds):
            for name, peer, body in cases:
                found[name].append(await run.case(name, peer.process, body, headers=peer.headers))
                run.progress.advance(task)
        results.cases = [median(runs) for runs in found.values()]
        results.after_mb = ours.resident_mb()
        await _half_load(run, results, upstream, ours)


async def _half_load(run: BenchSettings, results: Results, upstream: Process, ours: Process) -> None:
    """Latency at half the throughput of held decisions, beside that of the upstream by itself."""
    held = next(case for case in results.cases if case.name == "auto, decision held")
    results.half_load_per_s = held.per_s / 2

    async def arrivals(process: Process, seed: int) -> poisson.Latency:
        return await poisson.arrivals(
            process.url, HELD, per_s=held.per_s / 2, seconds=run.seconds, connections=_PACED_CONNECTIONS, seed=seed
        )

    task = run.progress.add_task("Half load", total=run.rounds)
    pairs: list[tuple[poisson.Latency, poisson.Latency]] = []
    for number in range(run.rounds):
        pairs.append((await arrivals(upstream, number), await arrivals(ours, number)))
        run.progress.advance(task)
    results.added_p50_ms = statistics.median(through.p50_ms - direct.p50_ms for direct, through in pairs)
    results.added_p99_ms = statistics.median(through.p99_ms - direct.p99_ms for direct, through in pairs)


async def pieces(run: BenchSettings, results: Results) -> None:
    """What a piece of a stream costs, ours and the peers'."""
    folder, core = run.folder, run.server_core
    async with (
        rig.streaming_upstream(
            folder, run.other_core, tokens=tokens(run.seconds), tokens_per_s=PIECES_PER_S
        ) as upstream,
        rig.gateway(folder, upstream.url, core) as ours,
        rig.gateway(folder, upstream.url, core, redis=False) as redis_off,
        peers(folder, upstream.url, core, streaming=True) as others,
    ):
        servers = {"stream": ours, "stream" + REDIS_OFF: redis_off}
        servers |= {name: peer.process for name, peer in others.items()}
        task = run.progress.add_task("Pieces of streams", total=run.rounds * len(servers))
        found: dict[str, list[StreamMeasurement]] = {name: [] for name in servers}
        for _ in range(run.rounds):
            for name, server in servers.items():
                cost = await cost_of_a_piece(
                    name, server.url, server.pid, window_s=run.seconds, upstream_pid=upstream.pid
                )
                found[name].append(cost)
                run.progress.advance(task)
    results.pieces = [_median(costs) for costs in found.values()]


def _median(costs: list[StreamMeasurement]) -> StreamMeasurement:
    def of(name: str) -> float:
        return float(statistics.median(getattr(cost, name) for cost in costs))

    return StreamMeasurement(costs[0].name, of("cpu_us"), of("per_s"), of("per_read"), of("load_busy"))
