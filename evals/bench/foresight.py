"""`python -m pointsman.evals.bench.foresight`: does the gateway foresee what its experts do, from idle to saturation?

Streams arrive at random (an open loop) at a gateway whose experts are the servers that are named, all equal. Of every
answer the time to first token and the latency that the decision told beforehand are held against what came, as the
client saw it. Half of the requests state a cap on the time to first token: how many of the admitted broke it, and
what was refused with which status. Between the loads the servers rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import click
import numpy as np
import yaml
from rich.console import Console
from rich.progress import track

from pointsman.evals.bench.processes import Process, free_port, serving
from pointsman.evals.studies.prose import wrapped

_WORDS = [
    "the",
    "sum",
    "of",
    "two",
    "numbers",
    "is",
    "odd",
    "when",
    "one",
    "is",
    "even",
    "and",
    "other",
    "not",
    "so",
    "find",
    "what",
    "was",
    "asked",
    "for",
    "here",
]
_REST_S = 5.0
_PATIENCE_S = 300.0
#: Of the requests; the others state no cap.
_CAPPED_SHARE = 0.5
_COLUMNS = (
    "calls/s", "sent", "answered", "TTFT off, median", "latency off, median", "rank", "admitted under the cap",
    "broke it", "refused 503", "refused 4xx", "shares",
)  # fmt: skip


@dataclass(slots=True)
class ForeseenAnswer:
    """One answer: milliseconds as foreseen, and as they came; None where nothing was foreseen."""

    expert: str
    capped: bool
    ttft_ms: float
    latency_ms: float
    foreseen_ttft_ms: float | None
    foreseen_latency_ms: float | None


@dataclass(slots=True)
class LoadPoint:
    """What came of one load.

    Attributes:
        per_s: Arrivals.
        sent: Requests.
        answers: Those that were answered to their end.
        refused: Others, by status; 0 for those that broke off.
    """

    per_s: float
    sent: int = 0
    answers: list[ForeseenAnswer] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def _gateway(folder: Path, servers: Sequence[tuple[str, str]]) -> AsyncIterator[Process]:
    port = free_port()
    tree = {
        "pool": {
            "experts": [
                {"name": f"replica-{index}", "backend": "openai_http", "base_url": url, "model": model}
                for index, (url, model) in enumerate(servers)
            ]
        },
        "redis": {"embedded": False},
    }
    config = folder / "foresight.yaml"
    config.write_text(yaml.safe_dump(tree), "utf-8")
    command = [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--config", str(config), "--port", str(port)]
    async with serving(
        command, port, ready_path="/ready", cores=sorted(os.sched_getaffinity(0)), log=folder / "gateway.log"
    ) as process:
        yield process


async def _ask(http: aiohttp.ClientSession, point: LoadPoint, chance: random.Random, cap_ms: float) -> None:
    prompt = " ".join(chance.choices(_WORDS, k=min(400, max(3, int(chance.lognormvariate(3.3, 1.0))))))
    tokens = min(120, max(2, int(chance.lognormvariate(3.0, 0.7))))
    capped = chance.random() < _CAPPED_SHARE
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "routing": {"max_ttft_ms": cap_ms} if capped else {},
    }
    began_s, first_s, written = time.perf_counter(), None, 0
    async with http.post("/v1/chat/completions", json=body) as reply:
        if reply.status != 200:
            point.refused[reply.status] += 1
            return
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            if first_s is None:
                first_s = time.perf_counter()
            usage = json.loads(line[6:]).get("usage")
            written = usage["completion_tokens"] if usage else written
        ended_s, decision = time.perf_counter(), reply.headers["x-pointsman-decision"]
    async with http.get(f"/v1/decisions/{decision}") as found:
        told = await found.json()
    if first_s is None or not written:
        point.refused[0] += 1
        return
    expert = told["expert"]
    estimates = next(one["estimates"] for one in told["candidates"] if one["expert"] == expert)
    ttft, latency, length = (estimates[name] for name in ("ttft_ms", "latency_ms", "completion_tokens"))
    # The client alone knows how long an answer it asked for; what was foreseen is the time per token.
    if latency is not None:
        latency = ttft + (latency - ttft) / length * (written - 1)
    point.answers.append(
        ForeseenAnswer(expert, capped, (first_s - began_s) * 1e3, (ended_s - began_s) * 1e3, ttft, latency)
    )


async def _load(url: str, per_s: float, seconds: float, cap_ms: float, chance: random.Random) -> LoadPoint:
    point = LoadPoint(per_s)
    timeout = aiohttp.ClientTimeout(_PATIENCE_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as http, asyncio.TaskGroup() as group:
        due_s = time.perf_counter()
        end_s = due_s + seconds
        while due_s < end_s:
            if (wait_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            point.sent += 1
            group.create_task(_ask(http, point, chance, cap_ms))
            due_s += chance.expovariate(per_s)
    return point


async def measure(
    servers: Sequence[tuple[str, str]], rates: Sequence[float], seconds: float, cap_ms: float
) -> list[LoadPoint]:
    """One point for every load."""
    points, chance = [], random.Random(7)
    with tempfile.TemporaryDirectory() as name:
        async with _gateway(Path(name), servers) as gateway:
            # Before anything was seen, a cap refuses; half of these state none.
            await _load(gateway.url, 2.0, 10.0, cap_ms, chance)
            for per_s in track(rates, "loads", console=Console(stderr=True), transient=True):
                points.append(await _load(gateway.url, per_s, seconds, cap_ms, chance))
                await asyncio.sleep(_REST_S)
    return points


def _off(answers: Sequence[ForeseenAnswer], figure: str) -> float:
    """Median of the relative error; NaN where nothing was foreseen."""
    pairs = [(getattr(one, f"foreseen_{figure}"), getattr(one, figure)) for one in answers]
    errors = [abs(told - came) / came for told, came in pairs if told is not None]
    return float(np.median(errors)) if errors else float("nan")


def _rank(answers: Sequence[ForeseenAnswer]) -> float:
    """Rank correlation of the latency as foreseen and as it came."""
    pairs = np.array([(one.foreseen_latency_ms, one.latency_ms) for one in answers if one.foreseen_latency_ms])
    if len(pairs) < 3:
        return float("nan")
    ranks = pairs.argsort(axis=0).argsort(axis=0)
    return float(np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1])


def page(points: Sequence[LoadPoint], servers: int, seconds: float, cap_ms: float) -> str:
    """The figures as a page."""
    parts = [
        "# What is foreseen, and what comes",
        "",
        "*Written by `python -m pointsman.evals.bench.foresight --page docs/results`; do not edit.*",
        "",
        (
            f"{servers} equal experts behind one gateway, real vLLM servers on this machine's CPU. Streams arrive at "
            f"random for {seconds:g} s at each load, one load after the other, with {_REST_S:g} s of rest between "
            f"them; half of them state a cap of {cap_ms:g} ms on the time to first token. *Off* is the relative error "
            "of what the decision told beforehand, for the answer's true length; *rank* the rank correlation of the "
            "latencies."
        ),
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|" + "---|" * len(_COLUMNS),
    ]
    for point in points:
        admitted = [one for one in point.answers if one.capped]
        broke = sum(one.ttft_ms > cap_ms for one in admitted) / len(admitted) if admitted else float("nan")
        shares = Counter(one.expert for one in point.answers)
        of = max(len(point.answers), 1)
        cells = (
            f"{point.per_s:g}", f"{point.sent:,}", f"{len(point.answers):,}", f"{_off(point.answers, 'ttft_ms'):.0%}",
            f"{_off(point.answers, 'latency_ms'):.0%}", f"{_rank(point.answers):.2f}", str(len(admitted)),
            f"{broke:.1%}", str(point.refused[503]),
            str(sum(count for status, count in point.refused.items() if 400 <= status < 500)),
            " : ".join(f"{shares[name] / of:.0%}" for name in sorted(shares)),
        )  # fmt: skip
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join([*parts, "", "How it works: [a note](../design/0071-learned-speed.md).", ""])


@click.command()
@click.option("--server", "servers", multiple=True, required=True, help="URL,MODEL of a server; once for each.")
@click.option("--rates", default="0.5,2,8,16,30,1", show_default=True, help="Arrivals a second, in this order.")
@click.option("--seconds", default=30.0, show_default=True, help="Length of each load.")
@click.option("--cap-ms", default=500.0, show_default=True, help="The cap that half of the requests state.")
@click.option("--page", "out", type=click.Path(path_type=Path), help="Write the page into this folder.")
def main(servers: tuple[str, ...], rates: str, seconds: float, cap_ms: float, out: Path | None) -> None:
    """Hold what decisions foresee against what comes."""
    pairs = [(url, model) for url, _, model in (one.partition(",") for one in servers)]
    loads = [float(one) for one in rates.split(",")]
    text = page(asyncio.run(measure(pairs, loads, seconds, cap_ms)), len(pairs), seconds, cap_ms)
    click.echo(text)
    if out is not None:
        (out / "foresight.md").write_text(wrapped(text), "utf-8")


if __name__ == "__main__":
    main()
