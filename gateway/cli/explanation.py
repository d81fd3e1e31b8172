"""A decision as a page for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pointsman.experts.spec import Source
from pointsman.gateway.wire.decision import explain
from pointsman.routers.budget import CAPS, Cap
from pointsman.routers.types import Candidate, Classification, Decision, Estimates, Rejection

_CATEGORIES_SHOWN = 5

#: Rule of a cap on an amount that a candidate tells -> the cap, and where the candidate tells it.
_CAPS: Final[Mapping[str, tuple[Cap, str]]] = {
    cap.name: (cap, attribute)
    for cap in CAPS
    if (attribute := cap.figure.replace(".", "_")) in Estimates.__slots__ and not cap.floor and cap.unit
}


def print_decision(decision: Decision, console: Console | None = None) -> None:
    """Print the answer, what the prompt looks like, and every expert with its figures and why it lost."""
    console = console or Console(highlight=False)
    console.print(f"[bold]{escape(decision.expert or 'no expert')}[/bold]  [dim]{decision.reason.value}[/dim]")
    if decision.expert is None:
        console.print("No expert may answer this request; the reasons stand below.")
    else:
        console.print(escape(explain(decision)))
    console.print()
    if decision.classification is not None:
        _print_category(decision.classification, console)
        console.print()
    rejections = {rejection.expert: rejection for rejection in decision.rejections}
    candidates = _in_order(decision)
    console.print(_figures(candidates, rejections, decision.expert))
    if any(_is_estimated(candidate) for candidate in candidates):
        console.print("[dim]≈ estimated, neither measured nor stated by the operator;  ? unknown[/dim]")
    console.print()
    for candidate in candidates:
        rejection = rejections.get(candidate.spec.name)
        if rejection is not None:
            console.print(_why(rejection))
    if (hint := _hint(decision)) is not None:
        console.print(hint)
    if decision.expert is not None and decision.fallbacks:
        console.print(f"[dim]should {escape(decision.expert)} fail: {escape(', then '.join(decision.fallbacks))}[/dim]")
    artifact = f" ({decision.artifact_hash[:12]})" if decision.artifact_hash else ""
    console.print(f"[dim]decided by router {escape(decision.router)}{artifact}[/dim]")


def _print_category(kind: Classification, console: Console) -> None:
    ranked = sorted(kind.posterior.items(), key=lambda item: (-item[1], item[0]))[:_CATEGORIES_SHOWN]
    listed = ", ".join(f"{name} {probability:.2f}" for name, probability in ranked)
    doubt = " (resembles nothing known)" if kind.out_of_scope else ""
    line = f"category  {kind.category}{doubt};  most probable: {listed}"
    console.print(Text(line, style="dim"))


def _in_order(decision: Decision) -> list[Candidate]:
    """The chosen expert, its fallbacks, then the others as the operator listed them."""
    order = {name: rank for rank, name in enumerate((decision.expert, *decision.fallbacks))}
    return sorted(decision.candidates, key=lambda candidate: order.get(candidate.spec.name, len(order)))


def _figures(candidates: Sequence[Candidate], rejections: Mapping[str, Rejection], chosen: str | None) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("  expert", overflow="fold")
    for heading in ("quality", "utility", "ttft ms", "total ms", "joules", "US$"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for candidate in candidates:
        name = candidate.spec.name
        rejection = rejections.get(name)
        verdict = "chosen" if name == chosen else str(rejection.rule) if rejection is not None else ""
        table.add_row(*_row(candidate, verdict, chosen=name == chosen))
    return table


def _row(candidate: Candidate, verdict: str, *, chosen: bool) -> list[Text]:
    estimates = candidate.estimates
    latency_mark = "≈" if estimates.latency_source is Source.ESTIMATED else ""
    energy_mark = "≈" if estimates.energy_source is Source.ESTIMATED else ""
    quality_mark = "≈" if estimates.quality.source is Source.ESTIMATED else ""
    style = "bold" if chosen else "" if candidate.utility is not None else "dim"
    cells = [
        ("▶ " if chosen else "  ") + candidate.spec.name,
        quality_mark + _number(estimates.quality.mean, 2),
        _number(candidate.utility, 3),
        latency_mark + _number(estimates.ttft_ms, 0),
        latency_mark + _number(estimates.latency_ms, 0),
        energy_mark + _number(estimates.energy_j, 2),
        _number(estimates.cost_usd, 6),
        verdict,
    ]
    return [Text(cell, style=style) for cell in cells]


def _why(rejection: Rejection) -> Text:
    again = " It may pass later." if rejection.transient else ""
    return Text.assemble("not ", (rejection.expert, "bold"), f": {rejection.detail}.{again}")


def _hint(decision: Decision) -> str | None:
    """What would have to change for some expert to answer, if a cap on a figure excludes all of them."""
    if decision.expert is not None:
        return None
    capped = {rejection.expert for rejection in decision.rejections if rejection.rule in _CAPS}
    rules = {rejection.rule for rejection in decision.rejections if rejection.rule in _CAPS}
    if len(rules) != 1:
        return None
    cap, attribute = _CAPS[rules.pop()]
    estimates = [candidate.estimates for candidate in decision.candidates if candidate.spec.name in capped]
    needs = [(getattr(estimate, attribute), estimate.completion_tokens_worst) for estimate in estimates]
    least, tokens = min((need, tokens) for need, tokens in needs if need is not None)
    shorter = f", or ask for a shorter answer than {tokens:.0f} tokens (--max-tokens)" if cap.follows_length else ""
    return f"To get an answer, allow at least {_rounded_up(least)} {cap.unit} ({cap.option}){shorter}."


def _rounded_up(value: float) -> str:
    """Three significant digits that are never less than the value."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{math.ceil(value / step) * step:.10g}"


def _number(value: float | None, digits: int) -> str:
    """A figure, or a question mark for what is unknown."""
    if value is None or value != value:  # NaN is the one value that differs from itself
        return "?"
    return f"{value:.{digits}f}"


def _is_estimated(candidate: Candidate) -> bool:
    estimates = candidate.estimates
    return Source.ESTIMATED in (estimates.latency_source, estimates.energy_source, estimates.quality.source)
