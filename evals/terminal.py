"""The results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.policies import Kind
from evals.report import Report, RouterRow

_DASH = "–"


def print_report(report: Report, console: Console) -> None:
    """Print what was evaluated, one line per router and baseline, and the notes."""
    made = report.provenance
    costs = f", costs: {made.cost_basis}" if made.cost_range_usd else ", no costs"
    console.print(
        f"[bold]{made.table}[/bold]: {made.prompts:,} {made.split} prompts x {made.experts} experts "
        f"({made.train_prompts:,} {made.train_split} prompts to choose and fit on){costs}"
    )
    for note in _remarks(report):
        console.print(Text(f"  {note}", style="yellow"))
    console.print(_table(report, console))
    console.print(
        "[dim]± is half the 95 % bootstrap interval"
        f" ({made.bootstrap:,} resamples, near-duplicates together). Δ best single: paired; [green]green[/green] and"
        " [red]red[/red] exclude 0. Picked best: ties count; only best: prompts with a single best expert."
        " AIQ over the single experts' cost range.[/dim]"
    )


def _remarks(report: Report) -> list[str]:
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


def leak_remark(report: Report) -> str:
    """How many evaluated prompts stand in the train split, and what was done about it."""
    made = report.provenance
    ways = ", ".join(f"{way}: {count:,}" for way, count in made.leaks.items() if count)
    done = (
        f"{made.dropped_train_prompts:,} train prompts were left out for it"
        if made.dropped_train_prompts
        else "--drop-leaks leaves them out of the train split"
    )
    return f"{made.leaked_prompts:,} evaluated prompts stand in the train split too ({ways}); {done}"


def _table(report: Report, console: Console) -> Table:
    """One line per row; on a narrow terminal the less telling columns stay away (they are in the JSON)."""
    # The rank says which columns leave first: the highest; those of rank 0 stay. Short cells are tried before leaving.
    ranks = sorted({rank for _, _, rank in _columns(report, short=False)}, reverse=True)
    for short in (False, True):
        for most in ranks:
            table = _drawn(report, [column for column in _columns(report, short=short) if column[2] <= most])
            # A measurement never exceeds the width it is offered, so offer more than any table needs.
            if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
                return table
    return table


_Column = tuple[str, Callable[[RouterRow], "str | Text"], int]


def _columns(report: Report, *, short: bool) -> list[_Column]:
    """Title, cell and rank of every column that has something to show."""
    made = report.provenance
    costs = made.cost_range_usd is not None
    pair = any(row.apgr is not None for row in report.routers)
    columns: list[tuple[bool, _Column]] = [
        (True, ("quality", lambda row: _with_error(row.quality, None if short else row.quality_ci95), 0)),
        (True, ("Δ best single", lambda row: _difference(row, short=short), 0)),
        (True, ("gap closed", lambda row: _percent(row.gap_closed), 1)),
        (True, ("picked best", lambda row: _percent(row.selection_accuracy), 2)),
        (True, ("only best", lambda row: _percent(row.selection_accuracy_strict), 6)),
        (True, ("regret", lambda row: _plain(row.regret), 3)),
        (costs, ("$/1k", lambda row: _plain(row.cost_usd and row.cost_usd * 1000, 3), 0)),
        (costs, ("AIQ", lambda row: _plain(row.aiq), 0)),
        (costs, ("$ at 95 %", lambda row: _percent(row.cost_share_at_95), 4)),
        (pair, ("APGR", lambda row: _plain(row.apgr), 0)),
        (pair, ("CPT 50", lambda row: _percent(row.cpt50), 5)),
        (pair, ("CPT 80", lambda row: _percent(row.cpt80), 5)),
        (made.prompts_mode == "any", ("coverage", lambda row: _percent(row.coverage), 0)),
    ]
    return [column for shown, column in columns if shown]


def _drawn(report: Report, columns: list[_Column]) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("router", no_wrap=True)
    for title, *_ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    last = _last_router(report.routers)
    for row in _in_order(report.routers):
        name = Text(row.name, style="bold cyan" if row.kind is Kind.ROUTER else "")
        table.add_row(name, *(cell(row) for _, cell, _ in columns), end_section=row is last)
    return table


def _in_order(rows: tuple[RouterRow, ...]) -> list[RouterRow]:
    """Routers first, then the baselines, each in the report's order."""
    return sorted(rows, key=lambda row: row.kind is Kind.BASELINE)


def _last_router(rows: tuple[RouterRow, ...]) -> RouterRow | None:
    routers = [row for row in rows if row.kind is Kind.ROUTER]
    return routers[-1] if routers else None


def _plain(value: float | None, digits: int = 4) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _with_error(value: float | None, around: tuple[float, float] | None) -> str:
    if value is None:
        return _DASH
    return f"{value:.4f}" if around is None else f"{value:.4f} ± {(around[1] - around[0]) / 2:.3f}"


def _difference(row: RouterRow, *, short: bool) -> Text:
    value, around = row.quality_minus_best_single, row.quality_minus_best_single_ci95
    if value is None:
        return Text(_DASH)
    style = ""
    if around is not None and around[0] > 0:
        style = "green"
    elif around is not None and around[1] < 0:
        style = "red"
    shown = f"{value:+.4f}" if around is None or short else f"{value:+.4f} [{around[0]:+.3f}, {around[1]:+.3f}]"
    return Text(shown, style=style)
