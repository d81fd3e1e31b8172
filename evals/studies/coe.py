"""Composition of Experts' figure: quality against average active parameters, in domain and out of domain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.metrics.hull import non_decreasing_hull
from pointsman.evals.studies.drawing import BLACK, BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.open_models import CategoryPredictions, OpenModels, load_open_models, see_categories
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.routers.training.heads import fit_category_means
from pointsman.routers.training.mapping import MappingInfeasible, MappingProblem, map_categories

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

#: Average active parameters in billions; 31 and 54 are the paper's two operating points.
BUDGETS_B = (6.0, 8.0, 12.0, 16.0, 24.0, 31.0, 42.0, 54.0, 64.0)
#: What may be hosted: two 70 B models and a few small ones.
RESIDENT_B = 200.0
#: Shares of the training prompts that may be called uncertain.
UNCERTAIN = (0.05, 0.1, 0.2, 0.3, 0.4)
#: Domains are held out in so many groups.
GROUPS = 7


@dataclass(frozen=True, slots=True, eq=False)
class RoutingChoices:
    """Who answers the prompts of `rows` at every budget: columns, shape (budgets, rows)."""

    name: str
    rows: Ints
    experts: Ints


def _run(ground: StudyContext) -> str:
    models = load_open_models(ground.data / "mmlu_pro")
    resamples = 200 if ground.quick else 2000
    seen = see_categories(models, models.train, models.test)
    inside = _both(models, seen, models.train, models.test)
    ground.progress(0.3)
    outside = _held_out_domains(models, ground)
    tables = [
        _table("In domain", models, inside, resamples),
        _table("Out of domain", models, outside, resamples),
    ]
    _plot(models, inside, outside, ground.figures / "coe_active_parameters.svg")
    accuracy = float(np.mean(np.array(seen.names)[seen.test.argmax(axis=1)] == _categories(models)[models.test]))
    return _page(models, tables, accuracy, resamples)


def _categories(models: OpenModels) -> npt.NDArray[np.str_]:
    return np.array(models.table.categories)


def _held_out_domains(models: OpenModels, ground: StudyContext) -> list[RoutingChoices]:
    """Fit on the training prompts of all other domains, route the test prompts of the domains held out."""
    names = sorted(set(models.table.categories))
    categories = _categories(models)
    groups = 2 if ground.quick else GROUPS
    parts: list[list[RoutingChoices]] = []
    for group in range(groups):
        out = np.isin(categories, names[group::GROUPS])
        train, test = models.train[~out[models.train]], models.test[out[models.test]]
        parts.append(_both(models, see_categories(models, train, test), train, test))
        ground.progress(0.3 + 0.6 * (group + 1) / groups)
    return [
        RoutingChoices(
            same[0].name, np.concatenate([p.rows for p in same]), np.concatenate([p.experts for p in same], axis=1)
        )
        for same in zip(*parts, strict=True)
    ]


def _both(models: OpenModels, seen: CategoryPredictions, train: Ints, test: Ints) -> list[RoutingChoices]:
    """The plain composition and the robust one at every budget."""
    found = [_compose(models, seen, train, test, budget) for budget in BUDGETS_B]
    return [
        RoutingChoices("CoE", test, np.stack([plain for plain, _ in found])),
        RoutingChoices("Robust-CoE", test, np.stack([robust for _, robust in found])),
    ]


def _compose(
    models: OpenModels, seen: CategoryPredictions, train: Ints, test: Ints, budget_b: float
) -> tuple[Ints, Ints]:
    """Experts of the test prompts: category mapping, and with the uncertain ones at the generalist.

    The robust mapping calls as many prompts uncertain as cost nothing measurable on the training prompts: the largest
    share at which it is not below the plain one by more than a standard error of their paired difference.
    """
    scores = models.table.scores[train]
    generalist = int(scores.mean(axis=0).argmax())
    sure_train, sure_test = seen.train.argmax(axis=1), seen.test.argmax(axis=1)
    plain = _map(models, scores, sure_train, len(seen.names), budget_b, None)
    if plain is None:
        raise ValueError(f"no mapping keeps to {budget_b} B of active parameters")
    reached = scores[np.arange(len(train)), plain[sure_train]]
    robust_test = plain[sure_test]
    entropy_train, entropy_test = _entropy(seen.train), _entropy(seen.test)
    for share in UNCERTAIN:
        threshold = float(np.quantile(entropy_train, 1.0 - share))
        rows = np.where(entropy_train > threshold, len(seen.names), sure_train)
        mapping = _map(models, scores, rows, len(seen.names) + 1, budget_b, generalist)
        if mapping is None:
            continue
        difference = scores[np.arange(len(train)), mapping[rows]] - reached
        if difference.mean() >= -difference.std() / np.sqrt(len(train)):
            robust_test = mapping[np.where(entropy_test > threshold, len(seen.names), sure_test)]
    return plain[sure_test], robust_test


def _map(
    models: OpenModels, scores: Floats, rows: Ints, categories: int, budget_b: float, generalist: int | None
) -> Ints | None:
    """The MILP's mapping, shape (C,), None if infeasible; the last category is the generalist's if one is given."""
    membership = np.eye(categories)[rows]
    means = fit_category_means(scores, membership).mean.T.astype(np.float64)
    if generalist is not None:
        means[-1, np.arange(means.shape[1]) != generalist] = np.nan
    problem = MappingProblem(
        scores=means,
        shares=membership.mean(axis=0),
        total_b=models.total_b,
        active_b=models.active_b,
        max_resident_b=RESIDENT_B,
        max_active_b=budget_b,
    )
    try:
        return np.array(map_categories(problem).experts)
    except MappingInfeasible:
        return None


def _entropy(posterior: Floats) -> Floats:
    return np.asarray(-(posterior * np.log(np.maximum(posterior, 1e-30))).sum(axis=1))


def _resampled_hulls(models: OpenModels, rows: Ints, resamples: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Resample counts, and the hull of the single models in each resample."""
    for counts in resample_counts(models.clusters[rows], resamples, seed=0, block=1):
        quality = resampled_means(models.table.scores[rows].T, counts)[:, 0]
        yield counts, *non_decreasing_hull(models.active_b, quality)


def _table(title: str, models: OpenModels, routed: Sequence[RoutingChoices], resamples: int) -> str:
    """Quality, active parameters and lift above the hull of each composition at each budget, with intervals."""
    rows = routed[0].rows
    scores = models.table.scores[rows]
    at = np.arange(len(rows))
    reached = np.stack([scores[at, experts] for one in routed for experts in one.experts])
    active = np.stack([models.active_b[experts] for one in routed for experts in one.experts])
    hull = non_decreasing_hull(models.active_b, scores.mean(axis=0))
    lift = reached.mean(axis=1) - np.interp(active.mean(axis=1), *hull)
    lifts, qualities = [], []
    for counts, xs, ys in _resampled_hulls(models, rows, resamples):
        quality = resampled_means(reached, counts)[:, 0]
        qualities.append(quality)
        lifts.append(quality - np.interp(resampled_means(active, counts)[:, 0], xs, ys))
    size = len(BUDGETS_B)
    drawn = np.array(qualities)
    lines = []
    for i, budget in enumerate(BUDGETS_B):
        gain = _points(reached[size + i].mean() - reached[i].mean(), drawn[:, size + i] - drawn[:, i])
        cells = [
            f"{100 * reached[j].mean():.1f} | {active[j].mean():.1f} | {_points(lift[j], np.array(lifts)[:, j])}"
            for j in (i, size + i)
        ]
        lines.append(f"| {budget:g} | {cells[0]} | {cells[1]} | {gain} |")
    above = sum(interval(np.array(lifts)[:, i])[0] > 0 for i in range(size))
    better = sum(interval(drawn[:, size + i] - drawn[:, i])[0] > 0 for i in range(size))
    worse = sum(interval(drawn[:, size + i] - drawn[:, i])[1] < 0 for i in range(size))
    return (
        f"### {title}, n = {len(rows):,}\n\n"
        f"CoE is above the hull at {above} of {size} budgets, the interval without zero. Robust-CoE scores more than "
        f"CoE at {better} and less at {worse}.\n\n"
        "| budget, B | CoE, % | active, B | above the hull, points | Robust, % | active, B | above the hull, points | "
        "robust minus plain, points |\n|---|---|---|---|---|---|---|---|\n" + "\n".join(lines)
    )


def _points(value: float, samples: Floats) -> str:
    low, high = interval(samples)
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def oracle_curve(scores: Floats, active_b: Floats) -> tuple[Floats, Floats]:
    """What knowing every score would reach: best score at each price of a parameter, and what that uses."""
    at = np.arange(len(scores))
    chosen = [(scores - price * active_b).argmax(axis=1) for price in np.geomspace(1e-4, 1.0, 40)]
    return (
        np.array([active_b[pick].mean() for pick in chosen]),
        np.array([scores[at, pick].mean() for pick in chosen]),
    )


def _plot(models: OpenModels, inside: Sequence[RoutingChoices], outside: Sequence[RoutingChoices], path: Path) -> None:
    figure, panels = axes(2, (9.0, 3.8), sharey=True)
    for ax, routed, title in zip(panels, (inside, outside), ("in domain", "domains held out"), strict=True):
        rows = routed[0].rows
        scores, at = models.table.scores[rows], np.arange(len(rows))
        means = scores.mean(axis=0)
        ax.scatter(models.active_b, means, s=10, c=GREY, label="single models")
        ax.plot(*non_decreasing_hull(models.active_b, means), color=GREY, lw=1, label="their hull")
        ax.scatter([models.active_b.mean()], [means.mean()], marker="x", c=BLACK, s=24, label="random")
        cost, best = oracle_curve(scores, models.active_b)
        ax.plot(cost, best, color=BLACK, lw=0.8, ls=":", label="oracle")
        for one, colour in zip(routed, (ORANGE, BLUE), strict=True):
            ax.plot(
                [models.active_b[experts].mean() for experts in one.experts],
                [scores[at, experts].mean() for experts in one.experts],
                color=colour,
                marker=".",
                lw=1.4,
                label=one.name,
            )
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("average active parameters, billions", fontsize=8)
        ax.set_xlim(0, 115)
    panels[0].set_ylabel("accuracy on MMLU-Pro", fontsize=8)
    panels[0].legend(frameon=False, fontsize=7)
    save(figure, path)


def _page(models: OpenModels, tables: Sequence[str], accuracy: float, resamples: int) -> str:
    return f"""
Composition of Experts (arXiv 2412.01868) sends each prompt to the expert of its category, and claims better quality
*per active parameter* than any single model. Here: MMLU-Pro, {len(models.table.experts)} open models whose parameters
are known, {len(models.train):,} training and {len(models.test):,} test prompts.

![Accuracy against average active parameters](figures/coe_active_parameters.svg)

Categories are those our linear classifier predicts ({100 * accuracy:.1f} % right on the test prompts), never the true
labels. Scores per category come from training prompts with out-of-fold predictions; the mapping is the mixed-integer
programme of `routers/training/mapping.py` with at most {RESIDENT_B:g} B resident parameters and the average active
parameters of the first column. The hull is that of the single models **on the test prompts**: it is drawn with
hindsight, so lying above it is harder than it would be in practice. Mixing two models by a coin reaches the hull.

**Robust-CoE** sends prompts of high entropy to the best single model of the training prompts, within the same budget.
It calls as many uncertain as cost nothing measurable in training (one standard error). *Out of domain*, domains are
held out {GROUPS} times: the classifier and the mapping never saw any prompt of the domains they are judged on. More
prompts are uncertain there, so that Robust-CoE spends more than its budget: what it gains in quality it pays in
parameters, and its distance from the hull is taken at what it really used.

{tables[0]}

{tables[1]}

Intervals: 95 %, paired bootstrap, {resamples:,} resamples, near-duplicates drawn together; the hull is drawn anew in
each. Fitting is not resampled, so the intervals do not hold the chance of another training set.

**Not comparable with the paper's figures** (Arena-Hard 59.4 at 31 B, MT-Bench 9.06 at 54 B): those are judged answers
of five models we have no outcomes of, with another classifier. What is reproduced is the relation.

Sizes are those the models' makers state (`evals/studies/open_models.py`). Left out: Gemini (no stated size) and
DeepSeek-Coder-V2 (scored on 86 % of the prompts). Regenerate:
`make report`, or `python -m pointsman.evals.studies coe`.
"""


STUDY = Study("coe", "Quality against average active parameters", ("mmlu_pro",), _run)
