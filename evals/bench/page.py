"""The bench's figures: in the terminal, and as a page with plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pointsman.evals.bench.aims import AIMS
from pointsman.evals.bench.pieces import PIECES_PER_S, STREAMS
from pointsman.evals.bench.results import Case, Results
from pointsman.evals.studies.prose import wrapped

_CASES = (
    "case", "requests/s", "of sglang-router", "CPU per request, µs", "of sglang-router", "p50, ms", "p99, ms",
)  # fmt: skip
_PIECES = ("case", "CPU per piece, µs", "of sglang-router", "pieces/s", "pieces per read", "client and upstream, cores")


def _ratio(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _cases(results: Results) -> list[tuple[str, ...]]:
    return [
        (
            case.name,
            f"{case.per_s:,.0f}",
            _ratio(results.ratio(case.name)),
            f"{case.cpu_us:.0f}",
            _ratio(results.cpu_ratio(case.name)),
            f"{case.p50_ms:.2f}",
            f"{case.p99_ms:.2f}",
        )
        for case in results.cases
    ]


def _pieces(results: Results) -> list[tuple[str, ...]]:
    return [
        (
            pieces.name,
            f"{pieces.cpu_us:.1f}",
            _ratio(results.piece_ratio(pieces.name)),
            f"{pieces.per_s:,.0f}",
            f"{pieces.per_read:.2f}",
            f"{pieces.load_busy:.2f}",
        )
        for pieces in results.pieces
    ]


def _aims(runs: Sequence[Results]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("what", "aim", *(f"run {number}" for number in range(1, len(runs) + 1)), "")
    rows = [
        (
            aim.name,
            f"{'at least' if aim.at_least else 'at most'} {aim.limit:g}",
            *(_ratio(aim.value(run)) for run in runs),
            aim.verdict(runs),
        )
        for aim in AIMS
    ]
    return head, rows


def _profile(results: Results) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    loads = results.profile
    if not loads:
        return (), []
    parts = {part: sum(load.get(part, 0.0) for load in loads.values()) for load in loads.values() for part in load}
    rows = [
        (part, *(f"{load.get(part, 0.0):.1f}" for load in loads.values()))
        for part in sorted(parts, key=lambda part: -parts[part])
    ]
    rows.append(("together", *(f"{sum(load.values()):.1f}" for load in loads.values())))
    return ("CPU per request, µs", *loads), rows


def _facts(results: Results) -> list[str]:
    facts: list[str] = []
    if results.cases:
        facts += [
            (
                f"From start to ready: {results.ready_s:.2f} s. Resident: {results.idle_mb:.0f} MB idle, "
                f"{results.after_mb:.0f} MB after the load (Redis, a process of its own, is not in it)."
            ),
            (
                f"At half of that ({results.half_load_per_s:,.0f} requests/s of `auto`, decision held, at random "
                "moments whether or not earlier ones are answered), "
                f"p50 is {results.added_p50_ms:.2f} ms and p99 {results.added_p99_ms:.2f} ms above those of the "
                "upstream by itself at the same moments. Latency counts from when a request was due."
            ),
        ]
    if results.streams:
        facts.append(
            f"{results.streams:,} streams at once, a piece every 500 ms: {results.streams_broken} broken, the longest "
            f"pause beyond that is {results.gap_ms - 500:.0f} ms ({results.direct_gap_ms - 500:.0f} ms without the "
            f"gateway); {results.streams_mb:.0f} MB resident."
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


def show(results: Results, runs: Sequence[Results]) -> None:
    """Print the figures of a run, and the aims beside all runs."""
    console = Console(width=None if Console().is_terminal else 150)
    tables = [
        ("One core for the server, saturated", _CASES, _cases(results)),
        (f"{STREAMS} streams, {PIECES_PER_S:g} pieces a second each", _PIECES, _pieces(results)),
        ("Where the time goes", *_profile(results)),
        ("Aims", *_aims(runs)),
    ]
    for title, head, rows in tables:
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(head):
            table.add_column(column, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row)
        if rows:
            console.print(table)
    for fact in _facts(results):
        console.print(fact.replace("`", ""), highlight=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def write_page(runs: Sequence[Results], folder: Path) -> None:
    """Write `speed.md` and `figures/speed.svg` into a folder: the last run, and the aims beside all of them."""
    results = runs[-1]
    _draw(results, folder / "figures" / "speed.svg")
    curves = [
        _curve("connections", results.by_connections, "`auto`, decision held"),
        _curve("words", results.by_words, "`auto`, fresh prompts"),
        _curve("experts", results.by_experts, "`auto`, fresh prompts"),
        _curve("workers", results.by_workers, "`auto`, decision held; gateway, load and upstream share both cores"),
    ]
    soak = f" --soak {results.soak_asked}" if results.soak_asked else ""
    page = f"""# What the gateway costs

*Written by `make bench ARGS="--runs {len(runs)} --page docs/results{soak}"`; do not edit.*

One core for the server under measurement, its Redis included; the load and the upstream share the other. The gateway
runs as it comes, with the Redis that it starts by itself, where nothing else is said. Every case ran {results.rounds}
times for {results.seconds:g} s, in turn; medians. Peers run as they start by themselves but for what their name says,
on the same core, and log errors only, as the gateway does; nginx proxies and does nothing else. Those that are not
listed were not installed (`make bench-peers`).

## Aims

{_table(*_aims(runs))}

*Decision held*: the same question again while nothing changed that the decision rests upon. *Fresh prompt*: a salt and
a number make every prompt another, so that each is embedded, classified and selected for; its other words are known
to the tokeniser's memory, as most words of real prompts are. sglang-router stands with its policy `round_robin`.
Each run started every server anew{"; what follows is the last one" if len(runs) > 1 else ""}.

## Requests

{_table(_CASES, _cases(results))}

{results.connections} connections of wrk, each with one request after the other; the upstream is nginx with a fixed
answer. Figures include HTTP on both sides, parsing, deciding, accounting and proxying. Processor time per request is
steadier than throughput where other work shares the machine.

## Pieces of streams

{_table(_PIECES, _pieces(results))}

{STREAMS} streams, {PIECES_PER_S:g} pieces a second each. Processor time is taken while all of them run, so connections
and heads are not in it. Where there is one piece per read, the server passed on each as it came. nginx runs with
`proxy_buffering off`, without which it holds pieces back.

{_where(results)}## And else

{chr(10).join("- " + fact for fact in _facts(results))}

![What it costs against what](figures/speed.svg)

{chr(10).join(curves)}
Why it is built so, and what was tried: [one exchange](../design/0034-one-exchange.md),
[the data plane](../design/0001-data-plane.md).
"""
    (folder / "speed.md").write_text(wrapped(page), "utf-8")


def _where(results: Results) -> str:
    if not results.profile:
        return ""
    return f"""## Where the time goes

{_table(*_profile(results))}

Samples of the serving thread by py-spy under {results.connections} connections. A sample belongs to the innermost part
of the gateway in which it was taken, libraries to what calls them; the kernel's share of the sockets stands apart.

"""


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
    colours = ["#2f6fb5" if case.name.startswith(("named", "auto")) else "#8a8f98" for case in cases]
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
