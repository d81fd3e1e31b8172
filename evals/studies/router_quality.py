"""The shipped recipe against everything that a prompt-only router has to beat, on every table at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pointsman.evals.metrics.catalog import METRICS
from pointsman.evals.policies import Kind
from pointsman.evals.report import Comparison, EvaluationReport, RouterRow
from pointsman.evals.session import EvalOptions, build_report
from pointsman.evals.studies.drawing import BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.pools import CLOSE_POOL, NINE_PRICED
from pointsman.evals.studies.study import Study, StudyContext

_SEED = 42


@dataclass(frozen=True, slots=True)
class _Table:
    """One ground: its heading, its options, and what is aimed at (measure, aim) there."""

    title: str
    folder: str
    models: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    aims: tuple[tuple[str, float], ...] = ()


_TABLES = (
    _Table(
        "mmlu_pro, 28 experts",
        "mmlu_pro",
        aims=(("gap_closed", 0.10), ("cost_share_at_100", 0.50), ("quality", 0.7172)),
    ),
    _Table("mmlu_pro, nine priced experts", "mmlu_pro", NINE_PRICED, aims=(("quality", 0.7114),)),
    _Table("mmlu_pro, close pool of six", "mmlu_pro", CLOSE_POOL, aims=(("gap_closed", 0.18), ("quality", 0.5384))),
    _Table("ulab9, nine experts", "ulab9", aims=(("quality", 0.5626),)),
    _Table("routerbench_part, eleven experts", "routerbench_part", aims=(("aiq", 0.87), ("cost_share_at_95", 0.15))),
    _Table("RouteLLM's pair, MMLU", "routellm", datasets=("mmlu",), aims=(("apgr", 0.70),)),
    _Table("RouteLLM's pair, GSM8K", "routellm", datasets=("gsm8k",), aims=(("apgr", 0.65),)),
    _Table("RouteLLM's pair, MT-Bench", "routellm", datasets=("mt_bench",)),
)

_AIMS = {
    "gap_closed": "of the gap from best single to oracle closed",
    "quality": "mean score",
    "aiq": "AIQ",
    "apgr": "APGR, five-fold in domain",
    "cost_share_at_95": "of the best single expert's cost for 95 % of its quality",
    "cost_share_at_100": "of the best single expert's cost for all of its quality",
}
_LESS_IS_BETTER = {one.name for one in METRICS if one.better == "lower"}
_SHARES = {one.name for one in METRICS if one.unit == "%"}


def run(ground: StudyContext) -> str:
    """Evaluate the recipe on every table and tell how it stands."""
    reports: list[tuple[_Table, EvaluationReport]] = []
    for done, table in enumerate(_TABLES):
        options = EvalOptions(
            table=ground.data / table.folder,
            models=table.models,
            datasets=table.datasets,
            seed=_SEED,
            resamples=200 if ground.quick else 2000,
        )
        reports.append((table, build_report(options, lambda _: lambda _: None)))
        ground.progress((done + 1) / len(_TABLES))
    _draw(reports, ground.figures / "router_quality.svg")
    parts = [_INTRODUCTION, _overview(reports), _FIGURE, "## Aims\n\n" + _aims(reports)]
    parts += [_section(table, report) for table, report in reports]
    return "\n\n".join([*parts, _READING])


def _ours(report: EvaluationReport) -> RouterRow:
    return next(row for row in report.routers if row.kind is Kind.ROUTER)


def _measure(report: EvaluationReport) -> str:
    """With two experts the deferral curve is the question, and who is asked at no price says little."""
    return "apgr" if _ours(report).metrics["apgr"] is not None else "quality"


def _against(report: EvaluationReport, measure: str) -> list[Comparison]:
    return [one for one in report.comparisons if one.measure == measure and one.router == _ours(report).name]


def _overview(reports: Sequence[tuple[_Table, EvaluationReport]]) -> str:
    head = ["ground", "prompts", "ours", "best single", "oracle", "gap closed [95 %]", "best honest opponent"]
    head += ["ours minus it [95 %]", "p, Holm"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for table, report in reports:
        ours, measure = _ours(report), _measure(report)
        hardest = min(_against(report, measure), key=lambda one: one.difference)
        cells = [
            table.title,
            f"{report.provenance.prompts:,}",
            _number(ours.metrics[measure]) + ("" if measure == "quality" else " APGR"),
            _number(report.row("best_single").metrics["quality"]),
            _number(report.row("oracle").metrics["quality"]),
            f"{_share(ours.metrics['gap_closed'])} {_interval(ours.intervals.get('gap_closed'), 1)}",
            hardest.against,
            f"{hardest.difference:+.4f} {_interval(hardest.ci95)}",
            f"{hardest.p_holm:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _aims(reports: Sequence[tuple[_Table, EvaluationReport]]) -> str:
    lines = ["| ground | measure | aim | reached | |", "|---|---|---|---|---|"]
    for table, report in reports:
        ours = _ours(report)
        for measure, aim in table.aims:
            value = ours.metrics[measure]
            show = _share if measure in _SHARES else _number
            met = value is not None and (value <= aim if measure in _LESS_IS_BETTER else value >= aim)
            bound = "at most" if measure in _LESS_IS_BETTER else "at least"
            lines.append(
                f"| {table.title} | {_AIMS[measure]} | {bound} {show(aim)} | {show(value)} "
                f"{_interval(ours.intervals.get(measure))} | {'reached' if met else 'not reached'} |"
            )
    return "\n".join(lines)


def _section(table: _Table, report: EvaluationReport) -> str:
    ours, made, measure = _ours(report), report.provenance, _measure(report)
    costs, pair = made.cost_range_usd is not None, measure == "apgr"
    head = ["router", "quality [95 %]"]
    head += ["APGR [95 %]", "CPT 50", "CPT 80", "calls for 95 %"] if pair else ["few right"]
    head += ["AIQ", "cost at 95 %", "cost at 100 %"] if costs else []
    head += [f"ours minus it, {'APGR' if pair else 'quality'} [95 %]", "p, Holm"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    against = {one.against: one for one in _against(report, measure)}
    for row in report.routers:
        metrics, intervals = row.metrics, row.intervals
        if metrics["quality"] is None:
            continue
        cells = [f"**{row.name}**" if row is ours else row.name]
        cells.append(f"{metrics['quality']:.4f} {_interval(intervals.get('quality'))}")
        if pair:
            cells.append(f"{_number(metrics['apgr'])} {_interval(intervals.get('apgr'))}")
            cells += [_share(metrics[name]) for name in ("cpt50", "cpt80", "calls_for_95")]
        else:
            cells.append(_share(metrics["recall_rare"]))
        if costs:
            cells += [_number(metrics["aiq"]), *(_share(metrics[f"cost_share_at_{part}"]) for part in (95, 100))]
        one = against.get(row.name)
        cells += [f"{one.difference:+.4f} {_interval(one.ci95)}", f"{one.p_holm:.3f}"] if one is not None else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    counts = f"{made.prompts:,} prompts, {made.experts} experts, {made.train_prompts:,} train prompts"
    facts = [
        f"{counts}; costs: {made.cost_basis}.",
        *(f"{note}." for note in made.notes if "no router named" not in note),
    ]
    if (brier := ours.metrics["brier"]) is not None and (error := ours.metrics["calibration_error"]) is not None:
        facts.append(f"Predicted quality: Brier {brier:.4f}, ECE {error:.4f}.")
    if ours.flip_rates:
        told = ", ".join(f"{name} {rate:.1%}" for name, rate in ours.flip_rates.items())
        facts.append(f"Picks changed by rewording: {told}.")
    if (p50 := ours.metrics["latency_p50_ms"]) is not None and (p99 := ours.metrics["latency_p99_ms"]) is not None:
        facts.append(f"A decision took {p50:.2f} ms at the median, {p99:.2f} at p99.")
    return f"## {table.title}\n\n{' '.join(facts)}\n\n" + "\n".join(lines)


def _draw(reports: Sequence[tuple[_Table, EvaluationReport]], path: Path) -> None:
    """Ours minus every opponent, one panel per ground."""
    shown = [(table, report) for table, report in reports if len(_against(report, _measure(report))) > 1]
    figure, panels = axes(len(shown), (2.1 * len(shown), 3.4))
    names = list(dict.fromkeys(one.against for _, report in shown for one in _against(report, _measure(report))))
    names = [name for name in names if name != "cheapest" and not name.startswith("random")]
    for ax, (table, report) in zip(panels, shown, strict=True):
        for one in _against(report, _measure(report)):
            if one.against not in names:
                continue
            y = len(names) - names.index(one.against)
            low, high = one.ci95 or (one.difference, one.difference)
            colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
            ax.plot([low, high], [y, y], color=colour, lw=1.6)
            ax.plot([one.difference], [y], "o", color=colour, ms=3.5)
        ax.axvline(0, color="#000000", lw=0.7)
        ax.set_title(table.title.replace(", ", "\n"), fontsize=7.5)
        ax.set_ylim(0.4, len(names) + 0.6)
        ax.set_yticks(range(len(names), 0, -1), names if ax is panels[0] else [""] * len(names))
        ax.grid(axis="x", alpha=0.25)
    save(figure, path)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _interval(around: tuple[float, float] | None, percent: int = 0) -> str:
    if around is None:
        return ""
    return f"[{around[0]:.1%}, {around[1]:.1%}]" if percent else f"[{around[0]:.3f}, {around[1]:.3f}]"


_INTRODUCTION = """\
Does a router that sees only the prompt beat what costs less thought? The router is what `pointsman train` fits with
no setting changed from table to table. Everything is learned on a table's train split and measured on its test
split; RouteLLM's tables have no train split and are cross-fitted in five folds, near-duplicates together. Opponents
are those of every `pointsman eval`: single experts, the best expert per category with the *true* label of the
prompt (which no router has), prompt length, 100 nearest neighbours and one linear model per expert on TF-IDF and
SVD, and mixing at random. In folds those text features are fitted on the words of all prompts, which favours the
opponents a little.

*Best honest opponent* is the one that ours is least above. It is picked after looking at the results, which
flatters it; its p-value is corrected by Holm over all opponents of its table."""

_FIGURE = """\
![Ours minus every opponent](figures/router_quality.svg)

*Difference to every opponent but the cheapest expert and chance, with its 95 % interval: in quality, for RouteLLM's
pair in APGR. Right of the line is in our favour; grey lines say that the table cannot tell.*"""

_READING = """\
## Reading it

Intervals are percentiles of a paired bootstrap over clusters of near-duplicate prompts, the same resamples for
every row of a table; they cover the choice of prompts, not that of the split or of the seed. *Few right* is the
share of right picks on prompts that only one or two experts solve. AIQ is the mean height of the cost-quality hull
over the cost range of the table's own single experts: it cannot be compared with AIQ over another range or pool,
RouterBench's published ones included. Costs of `mmlu_pro` are list prices times tokens: for open-weight experts an
estimate by size, not a bill.

RouteLLM's published routers were trained on other data (battles of Chatbot Arena, some with a few labels of the
benchmark); the five folds here learn on the benchmark's own prompts. Their best published APGR is .603 on MMLU and
.622 on GSM8K, and prompt length alone reaches .583 and .598 without any training at all."""

STUDY = Study(
    name="router_quality",
    title="The prompt-only router against its baselines",
    needs=("mmlu_pro", "ulab9", "routerbench_part", "routellm", "prices"),
    run=run,
)
