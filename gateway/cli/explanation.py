"""A decision as a page for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from experts.spec import Source
from gateway.wire.decision import explain
from routers.types import Candidate, Classification, Decision, Rejection

_CATEGORIES_SHOWN = 5


def print_decision(decision: Decision, console: Console | None = None) -> None:
    """Print the answer, what the prompt looks like, and every expert with its figures and why it lost."""
    console = console or Console(highlight=False)
    verdict = decision.expert or "no expert"
    console.print(f"[bold]{escape(verdict)}[/bold]  [dim]{decision.reason.value}[/dim]")
    console.print(escape(explain(decision)))
    if decision.classification is not None:
        _print_category(decision.classification, console)
    console.print()
    console.print(_candidates(decision))
    if _shows_estimates(decision):
        console.print("[dim]≈ estimated from stated or assumed speeds and powers, not measured[/dim]")
    if decision.expert is not None and decision.fallbacks:
        console.print(f"[dim]after an error: {escape(', then '.join(decision.fallbacks))}[/dim]")
    router = f"router {decision.router}" + (f" ({decision.artifact_hash[:12]})" if decision.artifact_hash else "")
    console.print(f"[dim]{escape(router)}[/dim]")


def _print_category(kind: Classification, console: Console) -> None:
    ranked = sorted(kind.posterior.items(), key=lambda item: (-item[1], item[0]))[:_CATEGORIES_SHOWN]
    listed = "  ".join(f"{escape(name)} {probability:.2f}" for name, probability in ranked)
    doubt = ", out of scope" if kind.out_of_scope else ", uncertain" if kind.uncertain else ""
    console.print(f"[dim]category[/dim]  {escape(kind.category)}{doubt}   [dim]{listed}[/dim]")


def _candidates(decision: Decision) -> Table:
    rejections = {rejection.expert: rejection for rejection in decision.rejections}
    order = {name: rank for rank, name in enumerate((decision.expert, *decision.fallbacks))}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("expert")
    for heading in ("quality", "utility", "ttft ms", "latency ms", "energy J", "cost $"):
        table.add_column(heading, justify="right")
    table.add_column("why not", overflow="fold")
    for candidate in sorted(decision.candidates, key=lambda c: order.get(c.spec.name, len(order))):
        table.add_row(
            *_row(candidate, rejections.get(candidate.spec.name), chosen=candidate.spec.name == decision.expert)
        )
    return table


def _row(candidate: Candidate, rejection: Rejection | None, *, chosen: bool) -> list[Text]:
    estimates = candidate.estimates
    latency_mark = "≈" if estimates.latency_source is Source.ESTIMATED else ""
    energy_mark = "≈" if estimates.energy_source is Source.ESTIMATED else ""
    quality_mark = "≈" if estimates.quality.source is Source.ESTIMATED else ""
    style = "bold" if chosen else "" if candidate.utility is not None else "dim"
    why = "" if chosen or rejection is None else f"{rejection.rule.value}: {rejection.detail}"
    cells = [
        ("▶ " if chosen else "  ") + candidate.spec.name,
        quality_mark + _number(estimates.quality.mean, 2),
        _number(candidate.utility, 3),
        latency_mark + _number(estimates.ttft_ms, 0),
        latency_mark + _number(estimates.latency_ms, 0),
        energy_mark + _number(estimates.energy_j, 2),
        _number(estimates.cost_usd, 6),
        "chosen" if chosen else why,
    ]
    return [Text(cell, style=style) for cell in cells]


def _number(value: float | None, digits: int) -> str:
    """A figure, or a question mark for what is unknown."""
    if value is None or value != value:  # NaN is the one value that differs from itself
        return "?"
    return f"{value:.{digits}f}"


def _shows_estimates(decision: Decision) -> bool:
    return any(
        Source.ESTIMATED in (c.estimates.latency_source, c.estimates.energy_source, c.estimates.quality.source)
        for c in decision.candidates
    )
