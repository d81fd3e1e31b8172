"""A plan for people: in the terminal, as JSON, and as a page with its frontiers."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict
from html import escape
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pointsman.evals.plan import FrontierPoint, PoolPlan, TrafficProfile


def print_plan(plan: PoolPlan, traffic: TrafficProfile, heading: str, console: Console) -> None:
    """The awake set, who serves which category, and the frontiers in brief."""
    console.print(f"[bold]Keep awake[/bold] {len(plan.awake)} of {len(traffic.experts)} experts   [dim]{heading}[/dim]")
    console.print(_awake_table(plan, traffic))
    console.print(
        f"expected quality of the best awake expert [bold]{plan.selection.value:.4f}[/bold], {_proof(plan)}\n"
        f"resident {_amount(plan.resident_b)} B, worst case of a request {_amount(plan.energy_j)} J"
    )
    table = Table(box=SIMPLE_HEAD, title="One expert per category", title_justify="left", title_style="bold")
    table.add_column("category")
    table.add_column("expert")
    for category, expert in plan.serving.items():
        table.add_row(category, expert or "[yellow]nobody awake is fast enough[/yellow]")
    if plan.mapped is None:
        console.print(f"[yellow]no mapping of categories: {plan.why_not}[/yellow]")
    else:
        console.print(table)
        console.print(
            f"expected quality {plan.mapped.value:.4f}, {_amount(plan.mapped.average_active_b)} B active on average"
        )
    for points, unit in ((plan.by_energy, "J"), (plan.by_latency, "ms")):
        if points:
            console.print(f"[dim]quality by cap:[/dim] {_brief(points, unit)}", highlight=False)


def _brief(points: tuple[FrontierPoint, ...], unit: str) -> str:
    told = points if len(points) <= 6 else [points[i] for i in np.linspace(0, len(points) - 1, 6).round().astype(int)]
    return ", ".join(f"{point.cap:,.0f} {unit} → {point.quality:.3f}" for point in told)


def _proof(plan: PoolPlan) -> str:
    gap = plan.selection.gap
    return "proven best" if gap < 1e-8 else f"at most {gap:.4f} below the best possible set (proven)"


def _amount(figure: float) -> str:
    return "unknown" if math.isnan(figure) else f"{figure:,.1f}"


def _rows(plan: PoolPlan, traffic: TrafficProfile) -> list[tuple[str, str, str, str, str]]:
    """Name, parameters, worst joules, worst latency, and share of the prompts on which it is the best awake expert."""
    members = [traffic.experts.index(name) for name in plan.awake]
    best = traffic.quality[:, members].argmax(axis=1)
    share = np.bincount(best, weights=traffic.weights, minlength=len(members))
    return [
        (
            name,
            _amount(traffic.total_b[at]),
            _amount(traffic.worst_j[at]),
            _amount(traffic.worst_ms[:, at].max()),
            f"{100 * share[order]:.1f} %",
        )
        for order, (name, at) in enumerate(zip(plan.awake, members, strict=True))
    ]


_HEADS = ("expert", "parameters, B", "worst J", "worst ms", "best for")


def _awake_table(plan: PoolPlan, traffic: TrafficProfile) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "expert" else "right")
    for row in _rows(plan, traffic):
        table.add_row(*row)
    return table


def to_json(plan: PoolPlan, heading: str) -> str:
    """Everything, with null for what is unknown."""
    content = {"traffic": heading, "gap": plan.selection.gap, **asdict(plan)}
    return json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(plan: PoolPlan, traffic: TrafficProfile, heading: str) -> str:
    """One file without script or address outside it."""
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEADS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in _rows(plan, traffic)
    )
    serving = "".join(
        f"<tr><td>{escape(category)}</td><td>{escape(expert or 'nobody awake is fast enough')}</td></tr>"
        for category, expert in plan.serving.items()
    )
    mapping = (
        f"<table><tr><th>category</th><th>expert</th></tr>{serving}</table>"
        f"<p>Expected quality {plan.mapped.value:.4f}, {_amount(plan.mapped.average_active_b)} B active on average.</p>"
        if plan.mapped is not None
        else f"<p>No mapping: {escape(plan.why_not)}.</p>"
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Plan of a pool</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 4px 10px; border-bottom: 1px solid #d9dee4; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }} .sub {{ color: #66707c; }} svg {{ width: 100%; height: auto; }}
</style><h1>Keep {len(plan.awake)} of {len(traffic.experts)} experts awake</h1>
<p class="sub">{escape(heading)}</p>
<p>Expected quality of the best awake expert <b>{plan.selection.value:.4f}</b>, {_proof(plan)}. Resident
{_amount(plan.resident_b)} B, worst case of a request {_amount(plan.energy_j)} J.</p>
<table><tr>{head}</tr>{body}</table>
<h2>What other budgets would buy</h2>
<p>Expected quality of the best set under each cap, the other caps as given; the band reaches to the proven bound.</p>
{_frontiers(plan)}
<h2>One expert per category</h2>{mapping}
</html>
"""


def _frontiers(plan: PoolPlan) -> str:
    shown = [
        (points, label)
        for points, label in (
            (plan.by_energy, "worst-case energy of a request, J"),
            (plan.by_latency, "worst-case latency, ms"),
        )
        if points
    ]
    if not shown:
        return "<p>The pool file states neither energy nor latency.</p>"
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "plan", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for ax, (points, label) in zip(panels, shown, strict=True):
            caps = [point.cap for point in points]
            # A cap admits its set until the next one is reached: steps, not slopes.
            style: dict[str, Any] = {"step": "post", "alpha": 0.2, "color": "#0072b2"}
            ax.fill_between(caps, [p.quality for p in points], [p.upper_bound for p in points], **style)
            ax.step(caps, [point.quality for point in points], where="post", marker="o", ms=3, color="#0072b2")
            ax.set_xscale("log")
            ax.set_xlabel(label)
            ax.grid(alpha=0.25)
        panels[0].set_ylabel("expected quality")
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]
