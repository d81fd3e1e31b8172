"""`python -m pointsman.evals.bench.overload`: what is answered when far more is asked than the experts can do.

Two experts of bounded concurrency stand behind one gateway; requests of a heavy and a light tenant arrive at random, at
multiples of what the experts can answer. Goodput is what is answered within a client's patience. The same is measured
without a queue, where a full pool refuses at once.
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
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import uvloop
import yaml
from rich.console import Console
from rich.progress import track

from pointsman.evals.bench.processes import Process, free_port, serving
from pointsman.evals.bench.rig import streaming_upstream
from pointsman.evals.studies.prose import wrapped
from pointsman.experts.http1.client import ConnectionLimits, HttpClient
from pointsman.experts.http1.failures import HttpFailure
from pointsman.experts.http1.origin import Origin

_PLACES, _ANSWER_S, _EXPERTS = 16, 0.2, 2
#: Answers a second that the experts can give.
CAPACITY_PER_S = _PLACES * _EXPERTS / _ANSWER_S
_PATIENCE_S = 6.0
_LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 4.0, 8.0)
#: Of the requests; the other tenant sends the rest.
_LIGHT_SHARE = 0.1
_COLUMNS = (
    "load", "sent", "goodput", "shed", "lost", "p50, ms", "p99, ms", "refused within (p99), ms",
    "light tenant answered",
)  # fmt: skip
_KEYS = {"heavy": "heavy-key-0123456789", "light": "light-key-0123456789"}


@dataclass(frozen=True, slots=True)
class OverloadPoint:
    """One load.

    Attributes:
        load: What arrived, as a multiple of the capacity.
        sent: Requests.
        goodput: Answered in time, as a share of the capacity.
        shed: Refused with a reason, as a share of what was sent.
        lost: Everything else.
        p50_ms, p99_ms: Of the answered.
        shed_p99_ms: Until a refusal.
        light_answered: Share of the light tenant's requests that were answered in time.
    """

    load: float
    sent: int
    goodput: float
    shed: float
    lost: int
    p50_ms: float
    p99_ms: float
    shed_p99_ms: float
    light_answered: float


@contextlib.asynccontextmanager
async def _gateway(folder: Path, upstream: str, core: int, queue: int) -> AsyncIterator[Process]:
    port = free_port()
    expert = {"backend": "openai_http", "model": "fake", "base_url": upstream, "max_concurrency": _PLACES}
    tree = {
        "pool": {
            "probe_interval_s": 0,
            "experts": [
                {**expert, "name": f"expert-{index}", "quality_prior": {"*": 0.6 - 0.1 * index}}
                for index in range(_EXPERTS)
            ],
        },
        "admission": {"queue": queue},
        "auth": {"keys": [{"name": name, "key_env": f"KEY_{name.upper()}"} for name in _KEYS]},
    }
    config = folder / f"overload-{port}.yaml"
    config.write_text(yaml.safe_dump(tree), "utf-8")
    variables = [f"KEY_{name.upper()}={key}" for name, key in _KEYS.items()]
    serve = [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--config", str(config), "--port", str(port)]
    command = ["env", *variables, *serve]
    log = folder / f"overload-{port}.log"
    async with serving(command, port, ready_path="/ready", cores=[core], log=log) as process:
        yield process


async def _load(url: str, load: float, seconds: float) -> OverloadPoint:
    per_s = load * CAPACITY_PER_S
    rng = random.Random(7)
    client = HttpClient(Origin.parse(url), limits=ConnectionLimits(max_connections=8192, max_queued=8192))
    prepared = client.prepare("POST", "/v1/chat/completions", ((b"content-type", b"application/json"),))
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}]}).encode()
    ended: list[tuple[str, int, float]] = []

    async def one(tenant: str) -> None:
        began_s, status = time.perf_counter(), 0
        with contextlib.suppress(TimeoutError, HttpFailure):
            async with asyncio.timeout(_PATIENCE_S):
                reply = await client.request(prepared, ((b"authorization", b"Bearer " + _KEYS[tenant].encode()),), body)
                await reply.read()
                status = reply.status
        ended.append((tenant, status, (time.perf_counter() - began_s) * 1e3))

    began_s = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            due_s = began_s
            while due_s < began_s + seconds:
                if (wait_s := due_s - time.perf_counter()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(one("light" if rng.random() < _LIGHT_SHARE else "heavy"))
                due_s += rng.expovariate(per_s)
    finally:
        await client.aclose()
    took_s = time.perf_counter() - began_s
    answered = [took for _, status, took in ended if status == 200]
    refused = [took for _, status, took in ended if status == 503]
    light = [status == 200 for tenant, status, _ in ended if tenant == "light"]
    return OverloadPoint(
        load,
        len(ended),
        len(answered) / took_s / CAPACITY_PER_S,
        len(refused) / len(ended),
        len(ended) - len(answered) - len(refused),
        _percentile(answered, 50),
        _percentile(answered, 99),
        _percentile(refused, 99),
        float(np.mean(light)) if light else float("nan"),
    )


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


async def measure(seconds: float) -> dict[str, list[OverloadPoint]]:
    """The curve with the queue, and the one without."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [cores[-1]])
    curves: dict[str, list[OverloadPoint]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with streaming_upstream(
            folder, cores[-1], tokens=1, tokens_per_s=1e9, ttft_ms=_ANSWER_S * 1e3
        ) as upstream:
            for title, queue in (("a queue of 256", 256), ("no queue", 0)):
                curves[title] = []
                async with _gateway(folder, upstream.url, cores[0], queue) as gateway:
                    for load in track(_LOADS, title, console=Console(stderr=True), transient=True):
                        curves[title].append(await _load(gateway.url, load, seconds))
    return curves


def page(curves: dict[str, list[OverloadPoint]], seconds: float) -> str:
    """The figures as a page."""
    parts = [
        "# More than the experts can do",
        "",
        "*Written by `python -m pointsman.evals.bench.overload --page docs/results`; do not edit.*",
        "",
        (
            f"{_EXPERTS} experts take {_PLACES} calls at once and {_ANSWER_S * 1e3:.0f} ms for each: "
            f"{CAPACITY_PER_S:.0f} answers/s at most. Requests arrive at random for {seconds:g} s at each load, nine "
            f"of ten of one tenant; a client waits {_PATIENCE_S:g} s. *Goodput* counts what is answered by then, over "
            "the whole time until the last answer. One core for the gateway; load and experts share the other."
        ),
        "",
    ]
    for title, points in curves.items():
        best = max(point.goodput for point in points)
        at_four = next(point.goodput for point in points if point.load == 4.0)
        parts += [
            f"## With {title}",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            "|" + "---|" * len(_COLUMNS),
            *(
                f"| {one.load:g} | {one.sent:,} | {one.goodput:.2f} | {one.shed:.1%} | {one.lost} | {one.p50_ms:.0f} | "
                f"{one.p99_ms:.0f} | {one.shed_p99_ms:.0f} | {one.light_answered:.1%} |"
                for one in points
            ),
            "",
            f"At four times saturation goodput is {at_four / best:.1%} of the peak.",
            "",
        ]
    parts += ["![Goodput against load](figures/overload.svg)", "", "How it works: [overload](../overload.md).", ""]
    return "\n".join(parts)


def draw(curves: dict[str, list[OverloadPoint]], path: Path) -> None:
    """Goodput, and who is answered, against the load."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (title, points), colour in zip(curves.items(), ("#2f6fb5", "#8a8f98"), strict=True):
        loads = [point.load for point in points]
        left.plot(loads, [point.goodput for point in points], "o-", color=colour, label=title)
        right.plot(loads, [point.light_answered for point in points], "o-", color=colour, label=title)
    left.set_ylabel("answered, share of the capacity")
    right.set_ylabel("of the light tenant, answered")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("load, multiple of the capacity")
        axes.set_ylim(0, 1.05)
    left.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


@click.command()
@click.option("--seconds", default=15.0, show_default=True, help="Length of each load.")
@click.option("--page", "out", type=click.Path(path_type=Path), help="Write the page and its plot into this folder.")
def main(seconds: float, out: Path | None) -> None:
    """Measure goodput up to eight times of what the experts can do."""
    curves = uvloop.run(measure(seconds))
    text = page(curves, seconds)
    click.echo(text)
    if out is not None:
        (out / "overload.md").write_text(wrapped(text), "utf-8")
        draw(curves, out / "figures" / "overload.svg")


if __name__ == "__main__":
    main()
