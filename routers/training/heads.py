"""Fit the experts' heads: category means, and the blend of these with the regressions (`ridge`).

Scores are dense arrays with NaN where an expert was not scored on a prompt; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.estimators.quality import CategoryMeans
from pointsman.routers.types import FloatArray

Floats = npt.NDArray[Any]

#: Pseudo-observations that draw a category mean to the expert's overall mean.
SHRINKAGE = 20.0

#: Penalties of the ridge heads; their predictions are blended, so that none has to be chosen.
RIDGE_PENALTIES = (10.0, 30.0, 100.0, 300.0)

#: Mean quality by which an expert falls behind the best until the blend cares e times less about it.
NEAR_THE_TOP = 0.3

#: Standard errors by which a blend must lower the error to have half of its weight.
EVIDENCE = 2.0

#: Share of the blend that goes to the category view before any evidence for the others.
CATEGORY_PRIOR = 0.3


def overall_means(scores: Floats) -> FloatArray:
    """Mean score per expert over its scored prompts, shape (m,)."""
    return np.asarray(np.nanmean(scores, axis=0), dtype=np.float32)


def fit_category_means(scores: Floats, membership: Floats) -> CategoryMeans:
    """Mean and standard error per expert and category, by soft membership.

    Args:
        scores: Shape (n, m), NaN where unscored.
        membership: Share of each prompt in each category, rows summing to at most 1, shape (n, C).

    Returns:
        Means drawn to the overall mean by 20 pseudo-observations, and their standard errors.
    """
    base = overall_means(scores)
    seen = np.isfinite(scores)
    filled = np.where(seen, scores, 0.0)
    count = seen.T.astype(np.float64) @ membership
    total = filled.T @ membership
    square = (filled**2).T @ membership
    mean = (total + SHRINKAGE * base[:, None]) / (count + SHRINKAGE)
    overall_variance = np.nanvar(scores, axis=0)[:, None]
    raw = total / np.maximum(count, 1e-9)
    variance = np.maximum(square / np.maximum(count, 1e-9) - raw**2, 0.0)
    # Thin cells borrow the expert's overall variance, as their means borrow its mean.
    variance = (count * variance + SHRINKAGE * overall_variance) / (count + SHRINKAGE)
    return CategoryMeans(mean.astype(np.float32), np.sqrt(variance / (count + SHRINKAGE)).astype(np.float32))


def choose_blend(base: Floats, views: Sequence[Floats], scores: Floats) -> Floats:
    """Stacking (Breiman 1996) for choosing: what tells the experts near the top apart, on out-of-fold predictions.

    The weights minimise the squared error of the quality relative to the other experts on the same prompt, each
    expert counting as exp(-(μ_best - μ_n) / 0.3): how hard a prompt is for all decides nothing, and neither does the
    order among experts that are never chosen. Least squares likes a noisy view more than a choice does, and on little
    data any view. Two things hold it back:

    - all weights are multiplied by e = z⁴ / (z⁴ + 2⁴), where z > 0 is by how many standard errors the blend lowers that
      error against the overall means; where e is small these decide, hence the best single expert, and what little is
      left still says on which prompts the second best is nearest: a trade with cost needs that, and a gate that shuts
      has nothing to say;
    - the first view is the categories', and category-level mapping is what holds out of distribution (Bench-CoE,
      papers.md §2.5): 0.3 of the blend are its own, times the e of this view alone.

    Args:
        base: Mean quality per expert as known to each prompt's fold, shape (n, m).
        views: Out-of-fold predictions of each view, the categories' first, shape (n, m).
        scores: Shape (n, m), NaN where unscored.

    Returns:
        One weight per view, at least 0, with a sum of at most 1; what is missing to 1 stays on the overall mean.
    """
    from scipy.optimize import nnls

    seen = np.isfinite(scores)
    level = base.mean(axis=0)
    near = np.where(seen, np.exp(-(level.max() - level) / NEAR_THE_TOP), 0.0)
    total = np.maximum(near.sum(axis=1, keepdims=True), 1e-12)
    # Where no prompt was given to two experts there is nothing relative, and the quality itself has to do.
    paired = bool((seen.sum(axis=1) > 1).any())

    def relative(values: Floats) -> Floats:
        deviation = np.where(seen, values - base, 0.0)
        if paired:
            deviation = deviation - (near * deviation).sum(axis=1, keepdims=True) / total
        return np.sqrt(near) * deviation

    goal = relative(scores)
    columns = np.stack([relative(view) for view in views], axis=2)

    def evidence(weights: Floats) -> float:
        gain = (goal**2).sum(axis=1) - ((goal - columns @ weights) ** 2).sum(axis=1)
        error = float(gain.std()) / np.sqrt(len(gain))
        lead = max(0.0, float(gain.mean()) / error) if error > 0 else 0.0
        return lead**4 / (lead**4 + EVIDENCE**4)

    weights, _ = nnls(columns.reshape(-1, len(views)), goal.ravel())
    weights /= max(1.0, float(weights.sum()))
    weights *= evidence(weights)
    category = np.eye(len(views))[0]
    reserved = CATEGORY_PRIOR * evidence(category)
    return np.asarray((1.0 - reserved) * weights + reserved * category)
