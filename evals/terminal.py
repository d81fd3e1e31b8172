"""The results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.evals.metrics.catalog import metrics_to_show
from pointsman.evals.metrics.metric import Metric, side_of_zero
from pointsman.evals.policies import Kind
from pointsman.evals.report import EvaluationReport, RouterRow

_DASH = "–"


def print_report(report: EvaluationReport, console: Console) -> None:
    """Print what was evaluated, one line per router and baseline, and the notes."""
    made = report.provenance
    costs = f", costs: {made.cost_basis}" if made.cost_range_usd else _no_costs(report)
    console.print(
        f"[bold]{made.table}[/bold]: {made.prompts:,} {made.split} prompts x {made.experts} experts "
        f"({made.train_prompts:,} {made.train_split} prompts to choose and fit on){costs}"
    )
    for note in _remarks(report):
        console.print(Text(f"  {note}", style="yellow"))
    columns = _fitting_columns(report, console)
    console.print(_table(report, columns))
    if legend := _legend(report, columns):
        console.print(f"[dim]{legend}[/dim]")


def _no_costs(report: EvaluationReport) -> str:
    """Why there are no cost curves: no costs at all, or not of two experts on every scored prompt."""
    made = report.provenance
    if made.cost_basis == "none":
        return ", no costs"
    if not made.unpriced:
        return f", costs: {made.cost_basis}; one expert makes no cost curve"
    return f", no cost curves (costs: {made.cost_basis}), missing on some prompts of {', '.join(made.unpriced)}"


def _remarks(report: EvaluationReport) -> list[str]:
    made = report.provenance
    remarks = [f"{name} is left out: {why}" for name, why in made.left_out.items() if why != "not asked for"]
    if made.prompts < made.prompts_in_split and made.prompts_mode == "common":
        missing = made.prompts_in_split - made.prompts
        remarks.append(f"{missing:,} prompts of the split are left out: not every expert is scored on them")
    if made.unpriced and made.cost_range_usd:
        remarks.append(f"no price, so not on any cost curve: {', '.join(made.unpriced)}")
    if 0 < made.prompts_with_cost < made.prompts:
        remarks.append(f"curves and AIQ rest on {made.prompts_with_cost:,} prompts: on those all costs are known")
    if made.leaked_prompts:
        remarks.append(leak_remark(report))
    remarks += made.notes
    for row in report.routers:
        remarks += [f"{row.name}: {note}" for note in row.notes if row.kind is Kind.ROUTER or "undefined" in note]
    return remarks


def leak_remark(report: EvaluationReport) -> str:
    """How many evaluated prompts stand in the train split, and what was done about it."""
    made = report.provenance
    ways = ", ".join(f"{way}: {count:,}" for way, count in made.leaks.items() if count)
    done = (
        f"{made.dropped_train_prompts:,} train prompts were left out for it"
        if made.dropped_train_prompts
        else "--drop-leaks leaves them out of the train split"
    )
    return f"{made.leaked_prompts:,} evaluated prompts stand in the train split too ({ways}); {done}"


@dataclass(frozen=True, slots=True)
class _Column:
    """A metric in the table, with its interval or without."""

    metric: Metric
    has_interval: bool


def _fitting_columns(report: EvaluationReport, console: Console) -> list[_Column]:
    """On a narrow terminal the less telling columns stay away: they are in the JSON report."""
    ranked = [
        (one.terminal_rank, one)
        for one in metrics_to_show([row.metrics for row in report.routers])
        if one.terminal_rank is not None
    ]
    columns: list[_Column] = []
    # The rank says which columns leave first: the highest; those of rank 0 stay. Short cells are tried before leaving.
    for intervals in (True, False):
        for most in sorted({rank for rank, _ in ranked}, reverse=True):
            columns = [
                _Column(
                    one,
                    intervals and one.terminal_interval and any(one.name in row.intervals for row in report.routers),
                )
                for rank, one in ranked
                if rank <= most
            ]
            table = _table(report, columns)
            # A measurement never exceeds the width it is offered, so offer more than any table needs.
            if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
                return columns
    return columns


def _table(report: EvaluationReport, columns: Sequence[_Column]) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("router", no_wrap=True)
    for column in columns:
        table.add_column(column.metric.heading, justify="right", no_wrap=True)
    last = _last_router(report.routers)
    for row in _in_order(report.routers):
        name = Text(row.name, style="bold cyan" if row.kind is Kind.ROUTER else "")
        table.add_row(name, *(_cell(row, column) for column in columns), end_section=row is last)
    return table


def _legend(report: EvaluationReport, columns: Sequence[_Column]) -> str:
    """What the columns that are shown do not say themselves."""
    sentences = []
    if any(column.has_interval and not column.metric.signed for column in columns):
        resamples = report.provenance.bootstrap
        sentences.append(f"± is half the 95 % bootstrap interval ({resamples:,} resamples, near-duplicates together).")
    if any(column.metric.signed and _is_coloured(report, column.metric) for column in columns):
        sentences.append("[green]Green[/green] and [red]red[/red]: the 95 % interval excludes 0.")
    remarks = [f"{one.metric.heading}: {one.metric.legend}" for one in columns if one.metric.legend]
    return " ".join([*sentences, f"{'; '.join(remarks)}." if remarks else ""]).strip()


def _is_coloured(report: EvaluationReport, metric: Metric) -> bool:
    return any(side_of_zero(metric, row.intervals.get(metric.name)) for row in report.routers)


def _in_order(rows: tuple[RouterRow, ...]) -> list[RouterRow]:
    """Routers first, then the baselines, each in the report's order."""
    return sorted(rows, key=lambda row: row.kind is Kind.BASELINE)


def _last_router(rows: tuple[RouterRow, ...]) -> RouterRow | None:
    routers = [row for row in rows if row.kind is Kind.ROUTER]
    return routers[-1] if routers else None


def _cell(row: RouterRow, column: _Column) -> Text:
    metric = column.metric
    value, around = row.metrics.get(metric.name), row.intervals.get(metric.name)
    if value is None:
        return Text(_DASH)
    style = {"good": "green", "bad": "red", "": ""}[side_of_zero(metric, around)]
    shown = metric.text(value)
    if around is None or not column.has_interval:
        return Text(shown, style=style)
    if metric.signed:
        return Text(f"{shown} [{metric.interval_text(*around, ', ')}]", style=style)
    return Text(f"{shown} ± {metric.half_width_text(*around)}", style=style)
