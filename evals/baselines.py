"""The opponents every router must meet, and none of them is a straw man.

All that a baseline learns it learns on the train split; only the oracle (and the zero router, in choosing which
experts are worth mixing) sees the scores of the evaluated prompts. Baselines that look at the words of a prompt are in
`pointsman.evals.research_baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.selection import one_hot
from pointsman.evals.policies import COST_WEIGHTS, CostWeightSweep, Kind, Policy, Trial
from pointsman.evals.tables import OutcomeTable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RANDOM = "random"
CHEAPEST = "cheapest"
BEST_SINGLE = "best_single"
CATEGORY_ORACLE = "category_oracle"
DATASET_ORACLE = "dataset_oracle"
ORACLE = "oracle"
PROMPT_LENGTH = "prompt_length"
ZERO_ROUTER = "zero_router"

#: Of all of them.
NAMES = (RANDOM, CHEAPEST, BEST_SINGLE, CATEGORY_ORACLE, DATASET_ORACLE, ORACLE, PROMPT_LENGTH, ZERO_ROUTER)

#: Fewer train prompts than this say little about an expert.
_LEAST_NEIGHBOURS = 50
_LENGTH_SHARES = (0.0, 0.05, 0.1, 0.25, 0.5)


def baselines(trial: Trial) -> list[Policy]:
    """All baselines that need no router, in the order in which they are reported."""
    return [
        random_router(trial),
        cheapest(trial),
        best_single(trial),
        prompt_length(trial),
        category_oracle(trial),
        *dataset_oracle(trial),
        zero_router(trial),
        oracle(trial),
    ]


def best_single_column(train: OutcomeTable) -> int | None:
    """Column of the expert with the best mean score on the train split; None without a scored train prompt.

    Ties go to the cheaper, then to the first in the pool's order.
    """
    means = _means(train.scores)
    if not np.isfinite(means).any():
        return None
    return int(_pick(means[None, :], _means(train.cost_usd)[None, :], 0.0)[0])


def random_router(trial: Trial) -> Policy:
    """Uniform random routing, as its expected value rather than one draw."""
    n, m = trial.test.scores.shape
    return Policy(RANDOM, Kind.BASELINE, np.full((n, m), 1 / m))


def random_matched(trial: Trial, policy: Policy) -> Policy:
    """Random routing with a router's own mix of experts: what the mix alone is worth, without looking at the prompt."""
    share = policy.mix.mean(axis=0)
    return Policy(f"random_matched[{policy.name}]", Kind.BASELINE, np.tile(share, (len(trial.test), 1)))


def cheapest(trial: Trial) -> Policy:
    """Always the expert with the lowest mean cost per prompt on the train split (on the test split without one)."""
    source = trial.train if len(trial.train) else trial.test
    cost = _means(source.cost_usd)
    cost[~trial.test.priced] = np.nan
    if not np.isfinite(cost).any():
        nobody = np.zeros(trial.test.scores.shape)
        return Policy(CHEAPEST, Kind.BASELINE, nobody, notes=("undefined: no expert has a known cost",))
    return _always(trial, CHEAPEST, int(np.nanargmin(cost)))


def best_single(trial: Trial) -> Policy:
    """Always the expert with the best mean score on the train split."""
    column = best_single_column(trial.train)
    if column is None:
        return undefined(trial, BEST_SINGLE)
    return _always(trial, BEST_SINGLE, column)


def category_oracle(trial: Trial) -> Policy:
    """The true category's best expert, the mapping chosen on the train split."""
    return by_category(trial, CATEGORY_ORACLE, trial.train.categories, trial.test.categories)


def dataset_oracle(trial: Trial) -> list[Policy]:
    """The best expert for the prompt's data set (LLMRouterBench); none where data sets divide prompts no further."""
    pairs = set(zip(trial.test.datasets, trial.test.categories, strict=True))
    if len(set(trial.test.datasets)) < 2 or len(pairs) == len(set(trial.test.categories)):
        return []
    return [by_category(trial, DATASET_ORACLE, trial.train.datasets, trial.test.datasets)]


def by_category(trial: Trial, name: str, train_labels: Sequence[str], test_labels: Sequence[str]) -> Policy:
    """Each label's best expert on the train split, for labels true or predicted.

    A label that the train split does not have, or scores nobody on, goes to the best single expert.

    Args:
        trial: The ground.
        name: Of the policy.
        train_labels: Label of each train prompt.
        test_labels: Label of each test prompt.
    """
    if best_single_column(trial.train) is None:
        return undefined(trial, name)
    return _plug_in(trial, name, np.array(train_labels), np.array(test_labels))


def prompt_length(trial: Trial) -> Policy:
    """The best expert for prompts of this length: a regression of each expert's score on the number of characters.

    A line in the rank of the length, or the mean over the train prompts nearest in length, a twentieth to a half of
    them: whichever has the least squared error in five folds of the train split. The cheapest possible look at a
    prompt, and on RouteLLM's data nearly as good as its published routers.
    """
    if best_single_column(trial.train) is None:
        return undefined(trial, PROMPT_LENGTH)
    train = np.array([len(text) for text in trial.train.prompts])
    test = np.array([len(text) for text in trial.test.prompts])
    share = _best_share(train, trial.train.scores)
    quality, cost = (_by_length(train, values, test, share) for values in (trial.train.scores, trial.train.cost_usd))
    return predicted_policy(trial, PROMPT_LENGTH, quality, np.maximum(cost, 0.0))


def oracle(trial: Trial) -> Policy:
    """The cheapest of the experts that did best on this very prompt (RouterBench): the ceiling, knowing the outcome."""
    mix = one_hot(_pick(trial.test.scores, trial.test.cost_usd, 0.0), len(trial.test.experts))
    if not trial.has_costs:
        return Policy(ORACLE, Kind.BASELINE, mix)
    return Policy(ORACLE, Kind.BASELINE, mix, sweep(trial, trial.priced.scores, trial.priced.cost_usd))


def zero_router(trial: Trial) -> Policy:
    """RouterBench's zero router: mix the single experts by coin toss, never looking at the prompt. A hull of points.

    Its curve holds every priced expert asked always; which of them are worth mixing is read off the evaluated split
    itself, which makes it a harder opponent than it could be in practice.
    """
    nobody = np.zeros(trial.test.scores.shape)
    if not trial.has_costs:
        return Policy(
            ZERO_ROUTER, Kind.BASELINE, nobody, notes=("undefined: fewer than two experts have a known cost",)
        )
    order = trial.priced_experts
    choices = np.repeat(order[:, None], len(trial.priced), axis=1)
    note = "a hull and not a choice per prompt: quality and cost are those of its right end"
    return Policy(
        ZERO_ROUTER, Kind.BASELINE, nobody, CostWeightSweep(np.full(order.size, np.nan), choices), notes=(note,)
    )


def sweep(trial: Trial, quality: Floats, cost: Floats) -> CostWeightSweep:
    """Choices of a plug-in rule, argmax of quality - weight * normalised cost, along the common weights.

    Args:
        trial: The ground; experts without a known cost are never chosen.
        quality: Predicted (or true) quality, shape (n, m) over `trial.priced`.
        cost: Predicted (or true) cost in dollars, same shape.
    """
    unpriced = np.setdiff1d(np.arange(quality.shape[1]), trial.priced_experts)
    quality = quality.copy()
    quality[:, unpriced] = np.nan
    means = trial.priced.cost_usd[:, trial.priced_experts].mean(axis=0)
    scale = float(means.max()) or 1.0
    weights = np.array(COST_WEIGHTS)
    return CostWeightSweep(weights, np.stack([_pick(quality, cost / scale, weight) for weight in COST_WEIGHTS]))


def predicted_policy(trial: Trial, name: str, quality: Floats, cost: Floats) -> Policy:
    """The policy that believes predictions: the best expert, less what its cost is worth along the curve.

    Args:
        trial: The ground.
        name: Of the policy.
        quality: Predicted quality on each prompt of `Trial.test`, shape (n, m), NaN where there is none.
        cost: Predicted cost in dollars, same shape, NaN where there is none.
    """
    rows = trial.priced_rows
    strong = best_single_column(trial.train)
    pair = len(trial.test.experts) == 2 and strong is not None
    return Policy(
        name,
        Kind.BASELINE,
        one_hot(_pick(quality, cost, 0.0), len(trial.test.experts)),
        sweep(trial, quality[rows], cost[rows]) if trial.has_costs else None,
        deferral_score=quality[:, strong] - quality[:, 1 - strong] if pair and strong is not None else None,
        predicted=quality,
    )


def _best_share(length: Ints, scores: Floats, folds: int = 5) -> float:
    """The share of the prompts that predicts held-out scores best; 0 stands for a line."""
    fold = np.arange(len(length)) % folds

    def error(share: float) -> float:
        held = np.empty(scores.shape)
        for index in range(folds):
            here = fold == index
            held[here] = _by_length(length[~here], scores[~here], length[here], share)
        missed = (held - scores)[np.isfinite(held) & np.isfinite(scores)]
        return float((missed**2).mean()) if missed.size else np.inf

    return min(_LENGTH_SHARES, key=error) if len(length) >= 2 * folds else _LENGTH_SHARES[-1]


def _by_length(train: Ints, values: Floats, test: Ints, share: float) -> Floats:
    """Predicted values, shape (len(test), m): the mean over the nearest `share` of the train prompts, 0 for a line.

    Nearest is by rank of the length. A column without a value in reach is predicted by its mean over all.
    """
    order = np.argsort(train, kind="stable")
    middle = (np.searchsorted(train[order], test, "left") + np.searchsorted(train[order], test, "right")) / 2
    if not share:
        return _line(values[order], middle / len(train))
    width = min(len(train), max(_LEAST_NEIGHBOURS, round(share * len(train))))
    first = np.clip(middle.astype(np.int64) - width // 2, 0, len(train) - width)
    return _window_means(values[order], first, width)


def _line(values: Floats, at: Floats) -> Floats:
    """Least squares of each column, known cells only, on the position of its rows in (0, 1); told at `at`."""
    rank = ((np.arange(len(values)) + 0.5) / len(values))[:, None]
    known = np.isfinite(values)
    mean = _means(values)
    centre = _means(np.where(known, rank, np.nan))
    apart = np.where(known, rank - centre, 0.0)
    spread = (apart**2).sum(axis=0)
    rise = (apart * np.where(known, values - mean, 0.0)).sum(axis=0)
    slope = np.divide(rise, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return np.asarray(mean + slope * (at[:, None] - centre))


def _window_means(values: Floats, first: Ints, width: int) -> Floats:
    """Column means over rows `first` to `first + width`, where known; else those of all rows. Shape (len(first), m)."""
    known = np.isfinite(values)
    zero = np.zeros((1, values.shape[1]))
    total = np.concatenate([zero, np.where(known, values, 0.0).cumsum(axis=0)])
    count = np.concatenate([zero, known.cumsum(axis=0)])
    found = np.tile(_means(values), (len(first), 1))
    inside = count[first + width] - count[first]
    return np.asarray(np.divide(total[first + width] - total[first], inside, out=found, where=inside > 0))


def _plug_in(
    trial: Trial, name: str, train_labels: npt.NDArray[np.generic], test_labels: npt.NDArray[np.generic]
) -> Policy:
    """Predict quality and cost by their train means under the same label, and pick."""
    overall_quality, overall_cost = _means(trial.train.scores), _means(trial.train.cost_usd)
    quality = np.tile(overall_quality, (len(trial.test), 1))
    cost = np.tile(overall_cost, (len(trial.test), 1))
    for label in np.unique(test_labels):
        same = train_labels == label
        here = test_labels == label
        local = _means(trial.train.scores[same])
        if np.isfinite(local).any():
            quality[here] = local
            cost[here] = np.where(
                np.isfinite(local_cost := _means(trial.train.cost_usd[same])), local_cost, overall_cost
            )
    return predicted_policy(trial, name, quality, cost)


def _pick(quality: Floats, cost: Floats, weight: float) -> Ints:
    """Row-wise argmax of quality - weight * cost; ties to the cheaper, then to the first. -1 where nothing is known."""
    with np.errstate(invalid="ignore"):
        utility = quality - weight * cost if weight else quality
    utility = np.where(np.isfinite(utility), utility, -np.inf)
    best = utility.max(axis=1, keepdims=True)
    # Means of the same scores summed in another order differ in the last bits: that is a tie.
    tied = utility >= best - 1e-12
    dearness = np.where(tied, np.where(np.isfinite(cost), cost, np.finfo(np.float64).max), np.inf)
    return np.where(np.isfinite(best[:, 0]), dearness.argmin(axis=1), -1)


def _means(values: Floats) -> Floats:
    """Column means over known cells, shape (m,); NaN for a column without one."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.asarray(
        np.divide(
            np.where(known, values, 0.0).sum(axis=0), count, out=np.full(values.shape[1], np.nan), where=count > 0
        )
    )


def _always(trial: Trial, name: str, column: int) -> Policy:
    choices = np.full(len(trial.test), column)
    note = f"always {trial.test.experts[column]}"
    return Policy(name, Kind.BASELINE, one_hot(choices, len(trial.test.experts)), notes=(note,))


def undefined(trial: Trial, name: str) -> Policy:
    """A baseline that has nothing to choose on."""
    note = "undefined: the table has no scored prompt to choose on in its train split"
    return Policy(name, Kind.BASELINE, np.zeros(trial.test.scores.shape), notes=(note,))
