"""The results as one self-contained HTML page: no script, no font, no address outside the file."""

from __future__ import annotations

from html import escape

from pointsman.evals import plots
from pointsman.evals.metrics.catalog import metrics_to_show
from pointsman.evals.page_sections import comparisons, losses, metrics_table, other_metrics, standing
from pointsman.evals.policies import Kind
from pointsman.evals.report import EvaluationReport
from pointsman.evals.terminal import leak_remark

_DASH = '<span class="none">–</span>'

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f6f7f9; --ink: #1b1f24; --faint: #8b95a1; --line: #d9dee4;
  --good: #0a7d4b; --bad: #b3261e; --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #cc79a7;
  --series-4: #b8860b; --series-5: #56b4e9; --series-6: #7a5195; --series-7: #6b7280;
  --up: 10, 125, 75; --down: 179, 38, 30; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --panel: #1d2127; --ink: #e8eaed; --faint: #8b95a1;
  --line: #353b44; --good: #4cc38a; --bad: #ff8b7e; --series-0: #4ea8de; --series-1: #ff9457; --series-2: #3ecf9a;
  --series-3: #e5a0c4; --series-4: #e3b341; --series-5: #8fd3ff; --series-6: #b794d6; --series-7: #a3acb8;
  --up: 76, 195, 138; --down: 255, 110, 95; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1320px; padding: 32px 20px 64px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 6px; }
p { margin: 6px 0 12px; max-width: 78ch; } .sub { color: var(--faint); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; max-width: 9em; overflow-wrap: break-word; }
th:first-child, td:first-child { text-align: left; }
tr.router td { background: var(--panel); font-weight: 600; }
.ci { color: var(--faint); font-weight: 400; font-size: 12px; }
.good { color: var(--good); } .bad { color: var(--bad); } .none { color: var(--faint); }
figure { margin: 12px 0 0; padding: 14px; background: var(--panel); border-radius: 10px; }
figure svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit; }
.notes { background: var(--panel); border-left: 3px solid var(--series-4); padding: 8px 14px; border-radius: 4px; }
.notes ul { margin: 0; padding-left: 18px; } td.heat { min-width: 62px; text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; font-size: 13.5px; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; } code { font-size: 12.5px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); gap: 12px; }
.card { background: var(--panel); border-radius: 10px; padding: 12px 14px; font-size: 13.5px; overflow-wrap: anywhere; }
.card blockquote { margin: 0 0 8px; padding-left: 10px; border-left: 3px solid var(--line); }
.card .tag { color: var(--faint); font-size: 12px; } .card p { margin: 2px 0; }
@media (max-width: 640px) { body { padding: 20px 12px 40px; } h1 { font-size: 22px; } figure { padding: 8px 4px; }
  figure { overflow-x: auto; } figure svg { min-width: 560px; } }
details { margin-top: 10px; } summary { cursor: pointer; }
"""


def render_page(report: EvaluationReport) -> str:
    """The whole page."""
    made = report.provenance
    title = f"Routing on {made.table}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{made.prompts:,} {escape(made.split)} prompts, {made.experts} experts, {made.date}</p>',
        _headline(report),
        _notes(report),
        "<h2>Results</h2>",
        "<p>Small figures are 95 % intervals of one paired bootstrap over prompts; coloured differences exclude 0.</p>",
        _results(report),
        _figure("Quality", "Mean score of the picked experts.", plots.quality_bars(report)),
        _figure(
            "Cost and quality",
            "Each line is the non-decreasing convex hull of one router over its price of cost; dots are experts asked "
            "always. Higher and further left is better; a router below the zero router would lose to a coin toss.",
            plots.cost_quality(report),
        ),
        _figure(
            "Deferral curve",
            "What a share of the best single expert's cost buys. Where a line crosses 100 %, routing gives its quality "
            "for less; the dotted line is 95 % of it. The band around a router is its 95 % interval.",
            plots.deferral(report),
        ),
        _figure(
            "Two experts",
            "Mean quality as more prompts go to the better expert, by RouteLLM's thresholds. The dotted line is what "
            "tossing a coin gives.",
            plots.two_experts(report),
        ),
        comparisons(report),
        _figure(
            "Who is asked", "Share of prompts that each expert gets, at no price on cost.", plots.choice_shares(report)
        ),
        _figure(
            "Calibration",
            "Is predicted quality what it says? On the dotted line it is; below it the prediction promises too much.",
            plots.calibration(report),
        ),
        _categories(report),
        losses(report),
        other_metrics(report),
        _pool(report),
        _provenance(report),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _headline(report: EvaluationReport) -> str:
    sentences = []
    for row in report.routers:
        quality, gain = row.metrics["quality"], row.metrics["quality_minus_best_single"]
        if row.kind is not Kind.ROUTER or quality is None or gain is None:
            continue
        around = row.intervals.get("quality_minus_best_single")
        sentence = f"<b>{escape(row.name)}</b> scores {quality:.4f}, {gain:+.4f} against the best single expert"
        if around is not None:
            sentence += f" (95 % interval {around[0]:+.4f} to {around[1]:+.4f})"
        if (closed := row.metrics["gap_closed"]) is not None:
            sentence += f", and closes {closed:.1%} of the gap to the oracle"
        if (share := row.metrics["cost_share_at_95"]) is not None:
            sentence += f". It reaches 95 % of that expert's quality at {share:.1%} of its cost"
        sentences.append(f"<p>{sentence}.{standing(report, row.name)}</p>")
    return "".join(sentences)


def _notes(report: EvaluationReport) -> str:
    made = report.provenance
    notes = [f"{name} is left out: {why}." for name, why in made.left_out.items() if why != "not asked for"]
    if made.prompts < made.prompts_in_split:
        notes.append(f"{made.prompts_in_split - made.prompts:,} prompts of the split are left out for missing scores.")
    if made.unpriced and made.cost_range_usd:
        notes.append(f"Without a known cost, and on no cost curve: {', '.join(made.unpriced)}.")
    if 0 < made.prompts_with_cost < made.prompts:
        notes.append(f"Curves and AIQ rest on {made.prompts_with_cost:,} prompts: on those all costs are known.")
    if made.leaked_prompts:
        notes.append(f"{leak_remark(report)}.")
    notes += made.notes
    notes += [f"{row.name}: {note}" for row in report.routers for note in row.notes]
    if not notes:
        return ""
    return f'<div class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul></div>'


def _results(report: EvaluationReport) -> str:
    rows = sorted(report.routers, key=lambda row: row.kind is Kind.BASELINE)
    return metrics_table(rows, [one for one in metrics_to_show([row.metrics for row in rows]) if one.headline])


def _categories(report: EvaluationReport) -> str:
    if len(report.categories) < 2:
        return ""
    rows = [row for row in sorted(report.routers, key=lambda row: row.kind is Kind.BASELINE) if row.quality_by_category]
    names = sorted(report.categories, key=lambda name: -report.categories[name])[:30]
    single = next((row for row in rows if row.name == "best_single"), None)
    lines = []
    for name in names:
        base = single.quality_by_category.get(name) if single is not None else None
        cells = []
        for row in rows:
            value = row.quality_by_category.get(name)
            if value is None:
                cells.append(f'<td class="heat">{_DASH}</td>')
                continue
            gain = value - base if base is not None else 0.0
            depth = min(abs(gain) / 0.2, 1.0) * 0.6
            tone = "up" if gain > 0 else "down"
            cells.append(f'<td class="heat" style="background: rgba(var(--{tone}), {depth:.2f})">{value:.3f}</td>')
        lines.append(f"<tr><td>{escape(name)}</td><td>{report.categories[name]:,}</td>{''.join(cells)}</tr>")
    # Long names may break where their words end.
    head = "".join(f"<th>{escape(row.name).replace('_', '_<wbr>').replace('[', '<wbr>[')}</th>" for row in rows)
    more = len(report.categories) - len(names)
    rest = f" The {more} smallest of {len(report.categories)} categories are in the JSON alone." if more > 0 else ""
    shade = " Green is better than the best single expert on that category, red worse." if single else ""
    return (
        f"<h2>By category</h2><p>Mean quality per category.{shade}{rest}</p>"
        f'<div class="scroll"><table><thead><tr><th>category</th><th>prompts</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _pool(report: EvaluationReport) -> str:
    lines = "".join(
        f"<tr><td>{escape(row.name)}</td><td>{_value(row.quality)}</td><td>{_value(row.quality_train)}</td>"
        f"<td>{_value(row.cost_usd and 1000 * row.cost_usd)}</td><td>{row.coverage:.1%}</td></tr>"
        for row in sorted(report.pool, key=lambda row: -(row.quality or 0.0))
    )
    return (
        "<h2>The pool</h2><details><summary>Every expert asked always</summary>"
        '<div class="scroll"><table><thead><tr><th>expert</th><th>quality</th><th>on train</th><th>$ per 1k</th>'
        f"<th>scored</th></tr></thead><tbody>{lines}</tbody></table></div></details>"
    )


def _provenance(report: EvaluationReport) -> str:
    made = report.provenance
    commit = f"{made.git_commit}{' (with local changes)' if made.git_dirty else ''}" if made.git_commit else "unknown"
    limits = (
        f"{1000 * made.cost_range_usd[0]:.4f} to {1000 * made.cost_range_usd[1]:.4f} US dollars per 1,000 prompts"
        if made.cost_range_usd
        else "none"
    )
    entries = [
        ("command", f"<code>{escape(made.command)}</code>"),
        (
            "prompts",
            f"{made.prompts:,} of split {escape(made.split)} ({made.prompts_mode}), {made.train_prompts:,} to fit on",
        ),
        ("costs", f"{escape(made.cost_basis)}; AIQ over {limits}"),
        (
            "bootstrap",
            f"{made.bootstrap:,} resamples of {made.near_duplicate_clusters:,} clusters of prompts, seed {made.seed}",
        ),
        *((escape(name), f"<code>sha256 {digest}</code>") for name, digest in made.sha256.items()),
        *(
            (f"artefact of {escape(row.name)}", f"<code>{escape(row.artifact_hash)}</code>")
            for row in report.routers
            if row.artifact_hash
        ),
        ("commit", escape(commit)),
        ("versions", escape(", ".join(f"{name} {version}" for name, version in made.versions.items()))),
    ]
    return f"<h2>Provenance</h2><dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in entries)}</dl>"


def _figure(title: str, caption: str, svg: str | None) -> str:
    return f"<h2>{title}</h2><p>{caption}</p><figure>{svg}</figure>" if svg else ""


def _value(value: float | None) -> str:
    return _DASH if value is None else f"{value:.4f}"
