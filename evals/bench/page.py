"""The bench's figures: in the terminal, and as a page with plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evals.bench.results import Case, Results

_HEAD = ("case", "requests/s", "of sglang-router", "CPU per request, µs", "p50, ms", "p99, ms")


def _rows(results: Results) -> list[tuple[str, ...]]:
    return [
        (
            case.name,
            f"{case.per_s:,.0f}",
            "–" if math.isnan(results.ratio(case)) else f"{results.ratio(case):.2f}",
            f"{case.cpu_us:.0f}",
            f"{case.p50_ms:.2f}",
            f"{case.p99_ms:.2f}",
        )
        for case in results.cases
    ]


def _facts(results: Results) -> list[str]:
    facts = [
        (
            f"From start to ready: {results.ready_s:.2f} s. Resident: {results.idle_mb:.0f} MB idle, "
            f"{results.after_mb:.0f} MB after the load."
        ),
        (
            f"At half of that ({results.half_load_per_s:,.0f} requests/s of `auto`, decision held, arriving at random "
            f"on many connections), p50 is {results.added_p50_ms:.2f} ms and p99 {results.added_p99_ms:.2f} ms above "
            "those of the upstream by itself under the same load. wrk's pauses end on whole milliseconds, so requests "
            "come in small bursts."
        ),
    ]
    if results.streams:
        facts.append(
            f"{results.streams:,} streams at once, a piece every 500 ms: {results.streams_broken} broken, the longest "
            f"pause beyond that is {results.gap_ms - 500:.0f} ms ({results.direct_gap_ms - 500:.0f} ms without the "
            f"gateway). The server's whole processor time, connections and heads included, is "
            f"{results.cpu_us_per_chunk:.0f} µs per piece; {results.streams_mb:.0f} MB resident. One more piece in a "
            f"stream costs {results.cpu_us_per_more_chunk:.0f} µs, two writes to and a read from the kernel included "
            "(100 streams, a piece every 25 ms each, 220 pieces against 20)."
        )
    if results.soak:
        facts.append(
            f"After {results.soak[-1][0]:,} requests: {results.soak[-1][1]:.0f} MB resident "
            f"({results.soak[1][1]:.0f} MB after the first {results.soak[1][0]:,})."
        )
    if results.stream_soak:
        facts.append(
            f"After {results.soak_streams:,} streams: {results.stream_soak[-1][1]:.0f} MB resident "
            f"({results.stream_soak[0][1]:.0f} MB after the first {results.stream_soak[0][0]:,})."
        )
    return facts


def show(results: Results) -> None:
    """Print the figures."""
    console = Console(width=None if Console().is_terminal else 130)
    table = Table(title="One core for the server, saturated", title_justify="left")
    for index, column in enumerate(_HEAD):
        table.add_column(column, justify="right" if index else "left")
    for row in _rows(results):
        table.add_row(*row)
    console.print(table)
    for fact in _facts(results):
        console.print(fact.replace("`", ""), highlight=False)


def write_page(results: Results, folder: Path, earlier: Sequence[Mapping[str, float]] = ()) -> None:
    """Write `speed.md` and `figures/speed.svg` into a folder; `earlier` are ratios of runs before this one."""
    _draw(results, folder / "figures" / "speed.svg")
    table = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    table += ["| " + " | ".join(row) + " |" for row in _rows(results)]
    curves = [
        _curve("connections", results.by_connections, "`auto`, decision held"),
        _curve("words", results.by_words, "`auto`, fresh prompts"),
        _curve("experts", results.by_experts, "`auto`, fresh prompts"),
        _curve("workers", results.by_workers, "`auto`, decision held; gateway, load and upstream share both cores"),
    ]
    page = f"""# What the gateway costs

*Written by `make bench ARGS="--page docs/results"`; do not edit.*

One core for the server under measurement; wrk and the upstream (nginx with a fixed answer) share the other. Every case
ran {results.rounds} times for {results.seconds:g} s with {results.connections} connections, in turn; medians. Figures
include HTTP on both sides, parsing, deciding, accounting and proxying. Peers run as they start by themselves but for
what their name says, on the same core; nginx proxies and does nothing else. Processor time per request is steadier
than throughput where other work shares the machine.

{chr(10).join(table)}

*Decision held*: the same question again while nothing changed that the decision rests upon. *Fresh prompt*: a salt and
a number make every prompt another, so that each is embedded, classified and selected for; its other words are known
to the tokeniser's memory, as most words of real prompts are. Peers log errors only, as the gateway does; those that
are not listed were not installed (`make bench-peers`).

The aims: 2.0 of sglang-router for a named model, 1.6 for a held decision, 1.0 for fresh prompts; at half load 0.5
ms more at p50 and 3 ms at p99; 10 µs a piece; pauses of many streams under 100 ms, 150 MB, ready within 2 s. On the
machine of the committed page the last three are met and the others are not. A bare proxy by callbacks, without
deciding or accounting, took 24 to 30 µs per request there; two thirds of that are the kernel's two writes and two
reads. Of a piece, 2 µs are ours.

{_in_a_row([*earlier, results.ratios()])}{chr(10).join("- " + fact for fact in _facts(results))}

![What it costs against what](figures/speed.svg)

{chr(10).join(curves)}
Why it is built so: [the fast lane](../design/0034-fast-lane.md), [the data plane](../design/0001-data-plane.md).
"""
    (folder / "speed.md").write_text(page, "utf-8")


def _in_a_row(runs: Sequence[Mapping[str, float]]) -> str:
    if len(runs) < 2:
        return ""
    lines = [f"{len(runs)} runs in a row, of sglang-router's throughput in the same run:", ""]
    lines += [f"- {name}: {', '.join(f'{run[name]:.2f}' for run in runs)}" for name in runs[-1] if name in runs[0]]
    return "\n".join(lines) + "\n\n"


def _curve(name: str, cases: Mapping[int, Case], what: str) -> str:
    if not cases:
        return ""
    lines = [f"| {name} ({what}) | requests/s | CPU per request, µs | p99, ms |", "|---|---|---|---|"]
    lines += [f"| {at:,} | {case.per_s:,.0f} | {case.cpu_us:.0f} | {case.p99_ms:.2f} |" for at, case in cases.items()]
    return "\n".join(lines) + "\n"


def _draw(results: Results, path: Path) -> None:
    from matplotlib.figure import Figure

    panels = [
        ("connections", results.by_connections),
        ("words of the prompt", results.by_words),
        ("experts", results.by_experts),
    ]
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplot_mosaic([["bars", "bars", "bars"], ["a", "b", "c"]])
    cases = list(reversed(results.cases))
    colours = ["#8a8f98" if "router" in case.name or "nginx" in case.name else "#2f6fb5" for case in cases]
    axes["bars"].barh([case.name for case in cases], [case.cpu_us for case in cases], color=colours)
    axes["bars"].set_xlabel("processor time per request, µs")
    for key, (name, curve) in zip("abc", panels, strict=True):
        axes[key].plot(list(curve), [case.cpu_us for case in curve.values()], "o-", color="#2f6fb5")
        axes[key].set_xscale("log")
        axes[key].set_ylim(bottom=0)
        axes[key].set_xlabel(name)
    axes["a"].set_ylabel("µs per request")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
