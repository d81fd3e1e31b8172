"""Outside what it was fitted on: unseen domains and data sets, experts that join late, another table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pointsman.evals.contenders import FITTED, Contender, compete
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import make_trial
from pointsman.evals.protocols.division import Protocol
from pointsman.evals.protocols.onboarding import LABELLED, OnboardingRow, onboard
from pointsman.evals.protocols.transfer import transfer_trial
from pointsman.evals.report import EvaluationReport, RouterRow
from pointsman.evals.session import EvalOptions, build_report
from pointsman.evals.studies.drawing import BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.pools import CLOSE_POOL
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.evals.tables import load_table
from pointsman.routers.training.onboarding import place_expert

_SEED = 42
_ROWS = (FITTED, "knn100", "linear", "prompt_length", "category_oracle")

#: Newcomers of the close pool: a specialist, and the best single expert.
_NEWCOMERS = ("mathstral-7B", "jamba-1.5-large")

#: RouteLLM's experts and who stands for them in `mmlu_pro`: Mixtral is the same model, GPT-4 is not in that table.
_STAND_INS = {
    "gpt-4-1106-preview": "Meta-Llama-3.1-70B-Instruct",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "Mixtral-8x7B-Instruct-v0.1",
}


def run(ground: StudyContext) -> str:
    """Leave out, let in, carry over."""
    resamples = 200 if ground.quick else 2000
    close = EvalOptions(table=ground.data / "mmlu_pro", models=CLOSE_POOL, seed=_SEED, resamples=resamples)
    ulab = EvalOptions(table=ground.data / "ulab9", seed=_SEED, resamples=resamples)
    parts = [_INTRODUCTION]
    stages = (
        ("Unseen domains: `mmlu_pro`, close pool of six", close, Protocol.LOCO),
        ("Unseen data sets: `ulab9`, nine experts", ulab, Protocol.LODO),
    )
    for done, (title, options, protocol) in enumerate(stages):
        inside = build_report(options, _silent)
        outside = build_report(replace(options, protocol=protocol), _silent)
        parts.append(_left_out(title, inside, outside, by_category=protocol is Protocol.LOCO))
        ground.progress(0.3 * (done + 1))
    newcomers = _NEWCOMERS[:1] if ground.quick else _NEWCOMERS
    trial = make_trial(load_table(ground.data / "mmlu_pro").pool(CLOSE_POOL))
    rows: list[OnboardingRow] = []
    for name in newcomers:
        rows += onboard(trial, name, place_expert, labelled=LABELLED, resamples=resamples, seed=_SEED)
        ground.progress(0.6 + 0.3 * (newcomers.index(name) + 1) / len(newcomers))
    _draw(rows, ground.figures / "onboarding.svg")
    parts += [_joined(rows), _carried_over(ground, resamples), _READING]
    return "\n\n".join(parts)


def _silent(_: str) -> Callable[[float], None]:
    return lambda _: None


def _left_out(title: str, inside: EvaluationReport, outside: EvaluationReport, *, by_category: bool) -> str:
    lines = [
        "| router | inside: minus best single [95 %] | left out: quality | left out: minus best single [95 %] |",
        "|---|---|---|---|",
    ]
    names = [name for name in _ROWS if any(row.name == name for row in outside.routers)]
    for name in names:
        there, here = inside.row(name), outside.row(name)
        lines.append(f"| {name} | {_gain(there)} | {_number(here.metrics['quality'])} | {_gain(here)} |")
    note = next(note for note in outside.provenance.notes if "out:" in note)
    text = f"## {title}\n\n{outside.provenance.prompts:,} test prompts; {note}.\n\n" + "\n".join(lines)
    return f"{text}\n\n{_by_category(inside, outside)}" if by_category else text


def _by_category(inside: EvaluationReport, outside: EvaluationReport) -> str:
    lines = [
        "| domain | prompts | best single | ours, domain seen | ours, domain left out |",
        "|---|---|---|---|---|",
    ]
    single, seen, unseen = outside.row("best_single"), inside.row(FITTED), outside.row(FITTED)
    for name, count in sorted(outside.categories.items(), key=lambda item: -item[1]):
        cells = [_number(row.quality_by_category.get(name)) for row in (single, seen, unseen)]
        lines.append(f"| {name} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _joined(rows: Sequence[OnboardingRow]) -> str:
    head = ["newcomer", "let in", "labelled prompts", "quality", "minus the pool without it [95 %]", "asked"]
    head += ["among the best", "Brier"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        low, high = row.minus_without_ci95
        lines.append(
            f"| {row.newcomer} | {row.way} | {row.labelled:,} | {row.quality:.4f} "
            f"| {row.minus_without:+.4f} [{low:+.3f}, {high:+.3f}] | {row.asked:.1%} | {row.best:.1%} "
            f"| {_number(row.brier if np.isfinite(row.brier) else None)} |"
        )
    return f"{_ONBOARDING}\n\n" + "\n".join(lines)


def _carried_over(ground: StudyContext, resamples: int) -> str:
    routellm = load_table(ground.data / "routellm")
    target = routellm.rows(np.array([name == "mmlu" for name in routellm.datasets]))
    trial = transfer_trial(load_table(ground.data / "mmlu_pro"), target, _STAND_INS)
    routers, yardsticks = compete(trial, [Contender(FITTED, None)], _silent, seed=_SEED)
    rows = {row.name: row for row in evaluate(trial, [*routers, *yardsticks], resamples, _SEED).rows}
    lines = ["| router | APGR [95 %] | CPT 50 |", "|---|---|---|"]
    for name in (FITTED, "knn100", "linear", "prompt_length"):
        row = rows[name]
        low, high = row.intervals.get("apgr") or (float("nan"),) * 2
        cpt50 = row.metrics["cpt50"]
        share = "–" if cpt50 is None else f"{cpt50:.1%}"
        lines.append(f"| {name} | {_number(row.metrics['apgr'])} [{low:.3f}, {high:.3f}] | {share} |")
    counts = f"{len(trial.train):,} train prompts, {len(trial.test):,} test prompts"
    dropped = f"{trial.dropped:,} train prompts stand in RouteLLM's MMLU too and were left out"
    return f"{_TRANSFER}\n\n{counts}; {dropped}.\n\n" + "\n".join(lines)


def _draw(rows: Sequence[OnboardingRow], path: Path) -> None:
    newcomers = list(dict.fromkeys(row.newcomer for row in rows))
    figure, panels = axes(len(newcomers), (3.2 * len(newcomers), 2.8), sharey=True)
    for ax, newcomer in zip(panels, newcomers, strict=True):
        mine = [row for row in rows if row.newcomer == newcomer]
        full = next(row for row in mine if row.way == "known in full")
        for way, colour in (("placed", ORANGE), ("refitted", BLUE), ("added mean", GREY)):
            line = [row for row in mine if row.way == way]
            xs = [row.labelled for row in line]
            low, high = zip(*(row.minus_without_ci95 for row in line), strict=True)
            ax.fill_between(xs, low, high, color=colour, alpha=0.15, lw=0)
            ax.plot(xs, [row.minus_without for row in line], "o-", color=colour, ms=3, label=way)
        ax.axhline(full.minus_without, color=BLUE, lw=0.9, ls=":", label="known in full")
        ax.axhline(0, color="#000000", lw=0.6)
        ax.set_xscale("log")
        ax.set_title(newcomer, fontsize=8)
        ax.set_xlabel("labelled prompts of the newcomer", fontsize=7)
    panels[0].set_ylabel("quality minus the pool without it", fontsize=7)
    panels[0].legend(fontsize=6.5, frameon=False)
    save(figure, path)


def _gain(row: RouterRow) -> str:
    gain, around = row.metrics["quality_minus_best_single"], row.intervals.get("quality_minus_best_single")
    if gain is None or around is None:
        return "–"
    low, high = around
    return f"{gain:+.4f} [{low:+.3f}, {high:+.3f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


_INTRODUCTION = """\
A split at random asks whether a router knows the prompts of its own tables. These are the questions that come
after: what does it do on a domain or a data set it has never seen, how soon is a new expert used well, and what is
left of it on a table of another origin? Everything is the shipped recipe with no setting changed; opponents as in
[the router against its baselines](router_quality.md)."""

_ONBOARDING = """\
## Experts that join: `mmlu_pro`, close pool of six

Five experts have outcomes on the whole train split, the sixth has a few labelled prompts. *Placed* puts it beside the
fitted router without fitting anything else again; *refitted* fits everything again with what is known; *added mean*
gives the newcomer its mean over those prompts, the same everywhere; *known in full* is the router that has all of its
outcomes. Without a single labelled prompt, and without a card, a newcomer is not asked.

![Quality against labelled prompts](figures/onboarding.svg)"""

_TRANSFER = """\
## Another table: `mmlu_pro` to RouteLLM's MMLU

Learned on `mmlu_pro` with Llama-3.1-70B-Instruct standing for GPT-4 (which that table does not have) and Mixtral as
itself, judged on RouteLLM's MMLU. The stand-in is another model, so this asks whether *difficulty for Mixtral*
carries over more than whether the pair does."""

_READING = """\
## Reading it

In an unseen domain there is no evidence on who is good at it: a recipe that claims less there stays at the best
single expert, one that claims more can fall below it. *Category oracle* has nothing to go by when the category is
left out and is the best single expert by definition. Intervals are percentiles of a paired bootstrap over clusters
of near-duplicate prompts; onboarding draws its labelled prompts once (seed 42), and that draw is not in the
intervals."""

STUDY = Study(
    name="generalisation",
    title="Unseen domains, new experts, other tables",
    needs=("mmlu_pro", "ulab9", "routellm", "prices"),
    run=run,
)
