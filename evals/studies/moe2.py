"""MoE²'s curves: quality against a latency budget and against an energy budget, with k experts asked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.studies.drawing import BLACK, BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.open_models import OpenModels, load_open_models, see_categories
from pointsman.evals.studies.operating_point import GPU, IN_FLIGHT, TokenCosts, token_costs
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.routers.selection.subsets import best_subset
from pointsman.routers.selection.worst_case import AwakeSetLimits, SharedResource, WorstCaseEnergyCap, slow_pairs
from pointsman.routers.training.heads import fit_category_means

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: Parameters that may be resident: 240 GB in 16 bit, four H100 with a quarter of their memory left for requests.
RESIDENT_B = 120.0
ENERGY_J = (75.0, 150.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0)
LATENCY_MS = (2000.0, 2500.0, 3000.0, 4000.0, 6000.0, 9000.0, 15000.0, 25000.0, 40000.0)
#: How many experts a request may ask; chosen on the training prompts at every budget.
WIDTHS = (1, 2, 3, 5)
#: Branches of the subset search; more do not change the sets chosen here.
NODES = 400


@dataclass(frozen=True, slots=True, eq=False)
class PromptOutcomes:
    """Everything a policy may know, and the prompts it is judged on.

    Attributes:
        quality: Predicted quality of the prompts, each out of fold, shape (p, m).
        category: Predicted category, shape (p,).
        scores: What the experts reached, shape (p, m).
        answers: Codes of what they answered, shape (p, m).
        worst_j: Worst-case joules of a call, shape (m,).
        worst_ms: Worst-case latency per category, shape (C, m).
        joules, milliseconds: Of the calls as they were, shape (p, m).
    """

    quality: Floats
    category: Ints
    scores: Floats
    answers: npt.NDArray[np.int32]
    worst_j: Floats
    worst_ms: Floats
    joules: Floats
    milliseconds: Floats


@dataclass(frozen=True, slots=True)
class ResourceCap:
    """A budget: joules of a request, or its latency, in the worst case; infinite for none."""

    joules: float = np.inf
    milliseconds: float = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class PolicyOutcomes:
    """What a policy reached on every prompt: score, joules and latency, shape (p,)."""

    score: Floats
    joules: Floats
    milliseconds: Floats


def _run(ground: StudyContext) -> str:
    models = load_open_models(ground.data / "mmlu_pro")
    costs = token_costs(ground.data / "energy_latency", models.table.experts, models.total_b, models.active_b)
    train, test = _grounds(models, costs)
    ground.progress(0.2)
    resamples = 200 if ground.quick else 2000
    kinds = (
        ("energy", "J", [ResourceCap(joules=cap) for cap in ENERGY_J], ENERGY_J),
        ("latency", "ms", [ResourceCap(milliseconds=cap) for cap in LATENCY_MS], LATENCY_MS),
    )
    sections, curves = [], []
    for index, (kind, unit, caps, amounts) in enumerate(kinds):
        runs = []
        for at, cap in enumerate(caps):
            runs.append(_policies(models, train, test, cap))
            ground.progress(0.2 + 0.4 * index + 0.4 * (at + 1) / len(caps))
        sections.append(_table(kind, unit, amounts, runs, models, resamples))
        curves.append((f"worst-case {kind} of a request, {unit}", amounts, runs))
    _plot(curves, ground.figures / "moe2_budgets.svg")
    return _page(models, costs, sections, resamples)


def _grounds(models: OpenModels, costs: TokenCosts) -> tuple[PromptOutcomes, PromptOutcomes]:
    """The training prompts and the test prompts; worst cases come from the training prompts alone."""
    table = models.table
    assert table.answers is not None  # noqa: S101 (mmlu_pro holds them)
    seen = see_categories(models, models.train, models.test)
    labels = np.array([seen.names.index(table.categories[row]) for row in models.train])
    # The soft mixture over predicted categories: what a gate knows of a prompt it has not seen.
    means = fit_category_means(table.scores[models.train], np.eye(len(seen.names))[labels]).mean.astype(np.float64)
    tokens = table.completion_tokens
    longest = np.stack(
        [np.nanquantile(tokens[models.train[labels == c]], 0.95, axis=0) for c in range(len(seen.names))]
    )
    worst_j = (longest * costs.joules).max(axis=0)
    worst_ms = longest * costs.milliseconds * costs.tail

    def of(rows: Ints, posterior: Floats) -> PromptOutcomes:
        assert table.answers is not None  # noqa: S101
        return PromptOutcomes(
            posterior @ means.T,
            posterior.argmax(axis=1),
            table.scores[rows],
            table.answers[rows],
            worst_j,
            worst_ms,
            tokens[rows] * costs.joules,
            tokens[rows] * costs.milliseconds,
        )

    return of(models.train, seen.train), of(models.test, seen.test)


def _policies(
    models: OpenModels, train: PromptOutcomes, test: PromptOutcomes, cap: ResourceCap
) -> dict[str, PolicyOutcomes | None]:
    """Every policy's answers to the test prompts under a cap; None where it cannot keep to the cap."""
    slow = slow_pairs(train.worst_ms, np.full(len(train.worst_ms), cap.milliseconds))
    sets = {k: _awake(models, train, slow, cap, k) for k in WIDTHS}
    value = {k: _vote(train, slow, members, k).score.mean() for k, members in sets.items() if len(members) >= k}
    if not value:
        return {}
    width = max(value, key=lambda k: value[k])
    limits = _limits(models, train, cap, 1)
    alone = limits.alone(len(models.total_b))
    everywhere = alone & ~slow.any(axis=0)
    order = np.argsort(-train.scores.mean(axis=0))
    greedy: list[int] = []
    for expert in order:
        if not slow[:, expert].all() and limits.allows(np.array([*greedy, expert])):
            greedy.append(int(expert))
    one = sets[1]
    together = _limits(models, train, cap, max(len(one), 1))
    found: dict[str, PolicyOutcomes | None] = {
        "MoE²": _vote(test, slow, sets[width], width),
        "single": _always(test, int(order[everywhere[order]][0])) if everywhere.any() else None,
        "random": _mean(test, slow, one),
        "all experts": _vote(test, slow, one, len(one), weighted=False) if together.allows(one) else None,
        "greedy": _vote(test, slow, np.array(greedy), 1),
        "oracle": _pick(test, slow, one, test.scores),
    }
    return found


def _limits(models: OpenModels, known: PromptOutcomes, cap: ResourceCap, k: int) -> AwakeSetLimits:
    energy = WorstCaseEnergyCap(known.worst_j, cap.joules, k) if np.isfinite(cap.joules) else None
    return AwakeSetLimits([SharedResource("resident_b", models.total_b, RESIDENT_B)], energy)


def _awake(models: OpenModels, train: PromptOutcomes, slow: Bools, cap: ResourceCap, k: int) -> Ints:
    """Coarse selection by the predicted quality of every fourth training prompt."""
    quality = np.where(slow[train.category], 0.0, train.quality)[::4]
    weights = np.full(len(quality), 1 / len(quality))
    return np.array(best_subset(quality, weights, _limits(models, train, cap, k), max_nodes=NODES).members, np.intp)


def _take(ground: PromptOutcomes, chosen: Ints) -> PolicyOutcomes:
    at = np.arange(len(chosen))
    return PolicyOutcomes(ground.scores[at, chosen], ground.joules[at, chosen], ground.milliseconds[at, chosen])


def _always(ground: PromptOutcomes, expert: int) -> PolicyOutcomes:
    return _take(ground, np.full(len(ground.scores), expert))


def _admitted(ground: PromptOutcomes, slow: Bools, members: Ints) -> Bools:
    """Which experts may answer which prompts, shape (p, m)."""
    awake = np.zeros(ground.scores.shape[1], dtype=np.bool_)
    awake[members] = True
    return np.asarray(awake & ~slow[ground.category])


def _pick(ground: PromptOutcomes, slow: Bools, members: Ints, by: Floats) -> PolicyOutcomes:
    """The admitted expert of the largest value; a prompt without one is refused, scores 0 and costs nothing."""
    admitted = _admitted(ground, slow, members)
    answered = _take(ground, np.where(admitted, by, -np.inf).argmax(axis=1))
    refused = ~admitted.any(axis=1)
    return PolicyOutcomes(
        *(np.where(refused, 0.0, figure) for figure in (answered.score, answered.joules, answered.milliseconds))
    )


def _mean(ground: PromptOutcomes, slow: Bools, members: Ints) -> PolicyOutcomes:
    """What an awake expert drawn at random reaches on average."""
    share = _admitted(ground, slow, members).astype(np.float64)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
    return PolicyOutcomes(
        *((share * figure).sum(axis=1) for figure in (ground.scores, ground.joules, ground.milliseconds))
    )


def _vote(ground: PromptOutcomes, slow: Bools, members: Ints, k: int, *, weighted: bool = True) -> PolicyOutcomes:
    """Ask the k best admitted experts; their answers vote, by log-odds of being right if `weighted`.

    With ten options and independent mistakes spread over the nine wrong ones, the most probable answer is the one of
    most ln(9 q / (1 - q)). Ties go to the best predicted. Asked in parallel: the slowest answer is waited for.
    """
    if k == 1:
        return _pick(ground, slow, members, ground.quality)
    admitted = _admitted(ground, slow, members)
    ranked = np.where(admitted, ground.quality, -np.inf)
    asked = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    present = np.take_along_axis(admitted, asked, axis=1)
    quality = np.clip(np.take_along_axis(ground.quality, asked, axis=1), 0.05, 0.95)
    answers = np.take_along_axis(ground.answers, asked, axis=1)
    weight = np.where(present & (answers >= 0), np.log(9 * quality / (1 - quality)) if weighted else 1.0, 0.0)
    agree = answers[:, :, None] == answers[:, None, :]
    winner = (agree * weight[:, None, :]).sum(axis=2).argmax(axis=1)
    at = np.arange(len(asked))

    def spent(figure: Floats) -> Floats:
        return np.where(present, np.take_along_axis(figure, asked, axis=1), 0.0)

    score = np.where(present[:, 0], ground.scores[at, asked[at, winner]], 0.0)
    return PolicyOutcomes(score, spent(ground.joules).sum(axis=1), spent(ground.milliseconds).max(axis=1))


_BASELINES = ("single", "random", "all experts", "greedy")


def _table(
    kind: str,
    unit: str,
    amounts: Sequence[float],
    runs: Sequence[dict[str, PolicyOutcomes | None]],
    models: OpenModels,
    resamples: int,
) -> str:
    counts = np.concatenate(list(resample_counts(models.clusters[models.test], resamples, seed=0)))
    lines = []
    for amount, run in zip(amounts, runs, strict=True):
        if not run or (ours := run["MoE²"]) is None:
            lines.append(f"| {amount:g} | – | no expert keeps to it | | | | | | |")
            continue
        cells = []
        for name in (*_BASELINES, "oracle"):
            if (other := run[name]) is None:
                cells.append("–")
            elif name == "oracle":
                cells.append(f"{100 * other.score.mean():.1f}")
            else:
                low, high = interval(resampled_means((ours.score - other.score)[None], counts)[0])
                cells.append(f"{100 * other.score.mean():.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
        low, high = interval(resampled_means(ours.score[None], counts)[0])
        lines.append(
            f"| {amount:g} | {100 * ours.score.mean():.1f} ({100 * low:.1f} to {100 * high:.1f}) | "
            f"{ours.joules.mean():.0f} | {ours.milliseconds.mean():.0f} | {' | '.join(cells)} |"
        )
    heads = " | ".join(f"{name}, %" for name in (*_BASELINES, "oracle of the awake"))
    return (
        f"### Against the {kind} budget\n\n"
        f"| budget, {unit} | MoE², % | spent, J | taken, ms | {heads} |\n|---|---|---|---|---|---|---|---|---|\n"
        + "\n".join(lines)
    )


def _plot(
    curves: Sequence[tuple[str, Sequence[float], Sequence[dict[str, PolicyOutcomes | None]]]], path: Path
) -> None:
    figure, panels = axes(2, (9.0, 3.8), sharey=True)
    colours = {
        "MoE²": ORANGE,
        "single": BLUE,
        "greedy": GREY,
        "all experts": "#009e73",
        "random": "#cc79a7",
        "oracle": BLACK,
    }
    for ax, (label, amounts, runs) in zip(panels, curves, strict=True):
        for name, colour in colours.items():
            reached = [np.nan if (one := run.get(name)) is None else one.score.mean() for run in runs]
            style = {"lw": 0.8, "ls": ":"} if name == "oracle" else {"lw": 2.0 if name == "MoE²" else 1.0}
            ax.plot(amounts, reached, color=colour, marker=".", ms=4, label=name, **style)
        ax.set_xscale("log")
        ax.set_xticks(amounts[::2], [f"{amount:,.0f}" for amount in amounts[::2]])
        ax.minorticks_off()
        ax.set_xlabel(label, fontsize=8)
    panels[0].set_ylabel("accuracy on MMLU-Pro", fontsize=8)
    panels[0].legend(frameon=False, fontsize=7)
    save(figure, path)


def _page(models: OpenModels, costs: TokenCosts, sections: Sequence[str], resamples: int) -> str:
    def formula(fit_name: str) -> str:
        fit = costs.joules_fit if fit_name == "J" else costs.milliseconds_fit
        b = fit.coefficients
        return (
            f"ln({fit_name} per output token) = {b[0]:+.2f} {b[1]:+.2f} ln(active B) {b[2]:+.2f} ln(total B) "
            f"{b[3]:+.2f} ln(batch) {b[4]:+.2f} ln(GPUs); R² {fit.r2:.2f}, median error with a model left out "
            f"{100 * fit.error:.0f} %, {fit.rows} configurations"
        )

    def measured(sources: Sequence[str]) -> str:
        return ", ".join(
            f"{name} ({source})"
            for name, source in zip(models.table.experts, sources, strict=True)
            if source != "estimated"
        )

    return f"""
MoE² (arXiv 2501.09410) first chooses which experts are awake, so that worst-case latency and energy are bounded whoever
answers, then asks the best k of them. Here: MMLU-Pro, {len(models.table.experts)} open models, at most
{RESIDENT_B:g} B resident parameters, {len(models.train):,} training and {len(models.test):,} test prompts.

![Accuracy against energy and latency budgets](figures/moe2_budgets.svg)

**Operating point**: {GPU}, {IN_FLIGHT} requests in flight, 16-bit weights; one GPU below 36 B parameters, four below
120 B, eight above. Another batch size moves joules and milliseconds several times over. GPU energy alone; latency is
that of generating the answer, without queue and prefill. Tokens are those of the stored answers (cl100k).

- Joules measured for {measured(costs.joules_from)}; **estimated** for the others: {formula("J")}.
- Milliseconds measured for {measured(costs.milliseconds_from)}; **estimated** for the others: {formula("ms")}.

A budget is a cap on the worst case: the 95 % quantile of the answer's length, per category for latency and of the worst
category for energy, at the p95 time between tokens; k experts count together. The gate is the soft mixture over the
categories that our classifier predicts; sets, and k out of {", ".join(map(str, WIDTHS))}, are chosen on training
prompts. Several answers vote, each with its log-odds of being right.

- *single*: the best model that keeps to the budget in every category.
- *random*: an awake expert by lot. *All experts*: every awake expert is asked, one voice each; – where that breaks the
  budget.
- *greedy*: wakes the best models one after the other as they fit, same gate, k = 1.
- *oracle of the awake*: the right one of the awake experts each time.

In brackets: MoE² minus that baseline in points, 95 %, paired bootstrap of {resamples:,} resamples with near-duplicates
together; behind MoE², the interval of its own accuracy.

{sections[0]}

{sections[1]}

**Not comparable with the paper's figure** (up to +14.4 % on MMLU on Jetson AGX Orin and RTX 4090 servers): other
experts, other machines, and answers are combined by vote instead of mixing the options' probabilities, which the table
does not hold. Regenerate: `make report`, or `python -m pointsman.evals.studies moe2`.
"""


STUDY = Study("moe2", "Quality against latency and energy budgets", ("mmlu_pro", "energy_latency"), _run)
