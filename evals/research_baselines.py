"""The literature's simple learned routers: predict every expert's quality from the prompt, pick by it.

They see the train split alone, and the prompt. "Tuned kNN matches or beats learned routers" (arXiv 2505.12601) and the
plateau of published routers (arXiv 2606.07587) make them the opponents that count: whatever is not above them has not
earned its complexity.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import best_single_column, predicted_policy, undefined
from pointsman.evals.policies import Policy, Trial
from pointsman.evals.text_features import TextFeatures, text_features

Floats = npt.NDArray[np.float64]

KNN = "knn100"
LINEAR = "linear"

_NEIGHBOURS = 100
_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
_BLOCK = 512


def research_baselines(trial: Trial, features: TextFeatures | None = None) -> list[Policy]:
    """Nearest neighbours, and one linear model per expert, on TF-IDF and SVD.

    Args:
        trial: The ground.
        features: Of its prompts; made here when not given.
    """
    if best_single_column(trial.train) is None:
        return [undefined(trial, KNN), undefined(trial, LINEAR)]
    seen = text_features(trial.train.prompts, trial.test.prompts) if features is None else features
    return [knn(trial, seen), linear(trial, seen)]


def knn(trial: Trial, features: TextFeatures, neighbours: int = _NEIGHBOURS) -> Policy:
    """Mean score and cost of the nearest train prompts by cosine, per expert, over those on which it is scored."""
    k = min(neighbours, len(trial.train))
    near = np.empty((len(trial.test), k), dtype=np.int64)
    for start in range(0, len(trial.test), _BLOCK):
        likeness = features.test[start : start + _BLOCK] @ features.train.T
        near[start : start + _BLOCK] = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    quality, cost = (_means_of(values, near) for values in (trial.train.scores, trial.train.cost_usd))
    return predicted_policy(trial, KNN, quality, cost)


def linear(trial: Trial, features: TextFeatures) -> Policy:
    """One ridge regression of score per expert; the penalty is the one with the least leave-one-out error.

    Costs are predicted the same way, where they are known.
    """
    quality = _regressed(features, trial.train.scores)
    cost = _regressed(features, trial.train.cost_usd)
    # A line may fall below zero, a bill may not.
    return predicted_policy(trial, LINEAR, quality, np.maximum(cost, 0.0))


def _means_of(values: Floats, near: npt.NDArray[np.int64]) -> Floats:
    """Mean over each prompt's neighbours where known, else over all; shape (n, m)."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    overall = np.divide(
        filled.sum(axis=0), known.sum(axis=0), out=np.full(values.shape[1], np.nan), where=known.any(axis=0)
    )
    found = np.tile(overall, (len(near), 1))
    for start in range(0, len(near), _BLOCK):
        index = near[start : start + _BLOCK]
        count, total = known[index].sum(axis=1), filled[index].sum(axis=1)
        np.divide(total, count, out=found[start : start + _BLOCK], where=count > 0)
    return found


def _regressed(features: TextFeatures, targets: Floats) -> Floats:
    """Predictions of a ridge regression per column; the mean where values are few, NaN where there are none."""
    from sklearn.linear_model import RidgeCV

    known = np.isfinite(targets)
    found = np.full((len(features.test), targets.shape[1]), np.nan)
    # Columns known on the same prompts are fitted together: on a full table that is all of them in one decomposition.
    _, group = np.unique(known, axis=1, return_inverse=True)
    for index in range(int(group.max()) + 1 if group.size else 0):
        columns = np.flatnonzero(group.ravel() == index)
        rows = known[:, columns[0]]
        if rows.sum() >= 10:
            fitted = RidgeCV(_PENALTIES).fit(features.train[rows], targets[np.ix_(rows, columns)])
            found[:, columns] = fitted.predict(features.test).reshape(len(features.test), len(columns))
        elif rows.any():
            found[:, columns] = targets[np.ix_(rows, columns)].mean(axis=0)
    return found
