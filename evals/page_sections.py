"""Sections of the page that answer one question each: is it better, where does it lose, what do others measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from evals.policies import Kind
from evals.report import Comparison, LostPrompt, Report, RouterRow

_DASH = '<span class="none">–</span>'
_MEASURES = {"quality": "quality", "aiq": "AIQ", "apgr": "APGR"}


def comparisons(report: Report) -> str:
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


def standing(report: Report, router: str) -> str:
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


def losses(report: Report) -> str:
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


def measures(report: Report) -> str:
    """What other benchmarks would report of the same choices."""
    columns: list[tuple[str, Callable[[RouterRow], str]]] = [
        ("Gain@B", lambda row: _percent(row.gain_over_single)),
        ("Gap@O", lambda row: _percent(row.gap_to_oracle)),
        ("only best", lambda row: _percent(row.selection_accuracy_strict)),
        ("regret", lambda row: _plain(row.regret)),
        ("right where few are", lambda row: _percent(row.recall_rare)),
        ("Brier", lambda row: _plain(row.brier)),
        ("ECE", lambda row: _plain(row.calibration_error)),
    ]
    if report.provenance.cost_range_usd:
        columns += [
            ("$ at 90 %", lambda row: _percent(row.cost_share_at_90)),
            ("$ at 100 %", lambda row: _percent(row.cost_share_at_100)),
            ("PerfGain", lambda row: _percent(row.perf_gain)),
            ("CostSave", lambda row: _percent(row.cost_save)),
            ("ParetoDist", lambda row: _plain(row.pareto_distance)),
            ("hyper&shy;volume", lambda row: _plain(row.hypervolume)),
            ("R2", lambda row: _plain(row.r2)),
            ("Arena score", lambda row: _plain(row.arena_score)),
            ("Opt.Sel", lambda row: _percent(row.opt_sel)),
            ("Opt.Cost", lambda row: _percent(row.opt_cost)),
            ("Opt.Acc", lambda row: _percent(row.opt_acc)),
        ]
    rows = sorted(report.routers, key=lambda row: row.kind is Kind.BASELINE)
    head = "".join(f"<th>{name}</th>" for name, _ in columns)
    lines = "".join(
        _line(row.name, [cell(row) for _, cell in columns], row.kind) for row in rows if row.quality is not None
    )
    return (
        "<h2>Other measures</h2><p>As LLMRouterBench (Gain@B, Gap@O, PerfGain, CostSave, ParetoDist) and RouterArena "
        "(score, Opt.Sel, Opt.Cost, Opt.Acc) define them. Comparable only on the same pool and prompts.</p>"
        f'<div class="scroll"><table><thead><tr><th>router</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
        + _flips(report)
    )


def _flips(report: Report) -> str:
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


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return _DASH if value is None else f"{value:.4f}"
