"""Sections of the page that answer one question each: is it better, where does it lose, what do others measure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pointsman.evals.metrics.catalog import metrics_to_show
from pointsman.evals.metrics.metric import Metric, side_of_zero
from pointsman.evals.policies import Kind
from pointsman.evals.report import Comparison, EvaluationReport, LostPrompt, RouterRow

_DASH = '<span class="none">–</span>'
_MEASURES = {"quality": "quality", "aiq": "AIQ", "apgr": "APGR"}


def comparisons(report: EvaluationReport) -> str:
    """Every router against every row that sees no answers; empty without a bootstrap."""
    if not report.comparisons:
        return ""
    measures = [name for name in _MEASURES if any(one.measure == name for one in report.comparisons)]
    parts = []
    for router in dict.fromkeys(one.router for one in report.comparisons):
        mine = [one for one in report.comparisons if one.router == router]
        cell = {(one.against, one.measure): one for one in mine}
        head = "".join(f"<th>in {_MEASURES[name]}</th><th>p, Holm</th>" for name in measures)
        lines = [
            f"<tr><td>{escape(against)}</td>"
            + "".join(_compared(cell.get((against, measure))) for measure in measures)
            + "</tr>"
            for against in dict.fromkeys(one.against for one in mine)
        ]
        parts.append(
            f'<div class="scroll"><table><thead><tr><th>{escape(router)} minus</th>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )
    return (
        "<h2>Is it better?</h2><p>Paired differences to every opponent that sees no answers; positive is in the "
        "router's favour. p-values are two-sided and corrected by Holm over all comparisons of one measure: five per "
        "cent is then the chance of <em>any</em> false claim in the column.</p>" + "".join(parts)
    )


def standing(report: EvaluationReport, router: str) -> str:
    """A sentence on how many opponents a router is surely above and below; empty without comparisons."""
    measure = "apgr" if any(one.measure == "apgr" for one in report.comparisons) else "quality"
    mine = [one for one in report.comparisons if one.router == router and one.measure == measure]
    if not mine:
        return ""
    above, below = (sum(_sure(one) and (one.difference > 0) is up for one in mine) for up in (True, False))
    return (
        f" Of {len(mine)} opponents that see no answers it is surely above {above} and surely below "
        f"{below or 'none'} in {_MEASURES[measure]} (Holm, 5 %)."
    )


def losses(report: EvaluationReport) -> str:
    """Example prompts on which a router's pick did worse than somebody else's answer."""
    parts = []
    for router in dict.fromkeys(one.router for one in report.lost):
        mine = [one for one in report.lost if one.router == router]
        parts.append(f'<h3>{escape(router)}</h3><div class="cards">{"".join(_lost(one) for one in mine)}</div>')
    if not parts:
        return ""
    return (
        "<h2>Where it loses to the oracle</h2><p>Prompts on which the pick failed and others did not, the most "
        "avoidable ones first: those that many others got right.</p>" + "".join(parts)
    )


def metrics_table(rows: Sequence[RouterRow], metrics: Sequence[Metric]) -> str:
    """Rows of the report by metrics; pointing at a heading shows the definition, an arrow which way is better."""
    arrows = {"higher": " ↑", "lower": " ↓", None: ""}
    head = "".join(
        f'<th title="{escape(one.definition)}">{escape(one.heading)}{arrows[one.better]}</th>' for one in metrics
    )
    lines = "".join(_line(row.name, [_metric(row, one) for one in metrics], row.kind) for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr><th>router</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def other_metrics(report: EvaluationReport) -> str:
    """The metrics that the first table leaves out, and what all of them mean."""
    rows = sorted(report.routers, key=lambda row: row.kind is Kind.BASELINE)
    shown = metrics_to_show([row.metrics for row in rows])
    others = [one for one in shown if not one.headline]
    named = {source: [one.heading for one in others if one.source == source] for source in _sources(others)}
    said = "".join(f"{', '.join(headings)}: as {source} defines it. " for source, headings in named.items())
    definitions = "".join(f"<dt>{escape(one.heading)}</dt><dd>{escape(one.definition)}</dd>" for one in shown)
    return (
        f"<h2>Other metrics</h2><p>{escape(said)}Comparable only on the same pool and prompts.</p>"
        + metrics_table([row for row in rows if row.metrics["quality"] is not None], others)
        + f"<details><summary>What each metric means</summary><dl>{definitions}</dl></details>"
        + _flips(report)
    )


def _sources(metrics: Sequence[Metric]) -> list[str]:
    return list(dict.fromkeys(one.source for one in metrics if one.source))


def _flips(report: EvaluationReport) -> str:
    rows = [row for row in report.routers if row.flip_rates]
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row.flip_rates))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(_line(row.name, [_percent(row.flip_rates.get(name)) for name in names]) for row in rows)
    return (
        "<h2>Does rewording change its mind?</h2><p>Share of sampled prompts whose pick changes under a mechanical "
        "rewording that keeps the meaning. These are no paraphrases: passing them is the least one can ask.</p>"
        f'<div class="scroll"><table><thead><tr><th>router</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _line(name: str, cells: Sequence[str], kind: str = "") -> str:
    return f'<tr class="{kind}"><td>{escape(name)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _compared(one: Comparison | None) -> str:
    if one is None:
        return f"<td>{_DASH}</td><td>{_DASH}</td>"
    tone = ("good" if one.difference > 0 else "bad") if _sure(one) else ""
    around = f'<br><span class="ci">{one.ci95[0]:+.3f} … {one.ci95[1]:+.3f}</span>' if one.ci95 is not None else ""
    return f'<td><span class="{tone}">{one.difference:+.4f}</span>{around}</td><td>{one.p_holm:.3f}</td>'


def _sure(one: Comparison) -> bool:
    return one.p_holm < 0.05


def _lost(one: LostPrompt) -> str:
    expected = "" if one.predicted is None else f", expected {one.predicted:.2f}"
    missed = "" if one.predicted_best is None else f", expected {one.predicted_best:.2f} of the first"
    return (
        f'<div class="card"><blockquote>{escape(one.excerpt)}</blockquote>'
        f'<p><span class="bad">{escape(one.picked)}</span> scored {one.picked_score:g}{expected}</p>'
        f'<p><span class="good">{escape(", ".join(one.best))}</span> scored {one.best_score:g}{missed}</p>'
        f'<p class="tag">{escape(one.category)} · {escape(one.prompt_id)}</p></div>'
    )


def _metric(row: RouterRow, metric: Metric) -> str:
    value, around = row.metrics.get(metric.name), row.intervals.get(metric.name)
    if value is None:
        return _DASH
    shown = metric.text(value)
    if tone := side_of_zero(metric, around):
        shown = f'<span class="{tone}">{shown}</span>'
    return shown if around is None else f'{shown}<br><span class="ci">{metric.interval_text(*around, " … ")}</span>'


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"
