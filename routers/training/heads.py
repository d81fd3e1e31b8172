"""Fit the experts' heads: category means, ridge regressions, neighbours, and the blend of the three.

Scores are dense arrays with NaN where an expert was not scored on a prompt; nothing is filled in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from routers.estimators.quality import BlendWeights, CategoryMeans, LinearHeads, Neighbours
from routers.types import FloatArray

Floats = npt.NDArray[Any]

#: Pseudo-observations that draw a category mean to the expert's overall mean.
SHRINKAGE = 20.0

#: Penalty of the ridge heads on unit vectors: candidates; the best by cross-validation is kept.
RIDGE_PENALTIES = (3.0, 10.0, 30.0, 100.0)

#: Share of the blend that goes to the category view before any evidence.
CATEGORY_PRIOR = 0.5

#: Most training prompts kept for the neighbour view, and the neighbours asked.
MAX_NEIGHBOURS_STORED = 4096
NEIGHBOURS_K = 50


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


def fit_ridge(vectors: FloatArray, scores: Floats, penalty: float) -> LinearHeads:
    """One ridge regression per expert on its scored prompts: `min Σ (y - W v - b)² + penalty |W|²`."""
    dim = vectors.shape[1]
    weights = np.zeros((scores.shape[1], dim), dtype=np.float32)
    bias = np.zeros(scores.shape[1], dtype=np.float32)
    seen = np.isfinite(scores)
    # Experts scored on the same prompts share one factorisation.
    patterns: dict[bytes, list[int]] = {}
    for expert in range(scores.shape[1]):
        patterns.setdefault(np.packbits(seen[:, expert]).tobytes(), []).append(expert)
    for experts in patterns.values():
        rows = np.flatnonzero(seen[:, experts[0]])
        design = vectors[rows].astype(np.float64)
        centre = design.mean(axis=0)
        design -= centre
        targets = scores[rows][:, experts]
        means = targets.mean(axis=0)
        gram = design.T @ design
        gram[np.diag_indices(dim)] += penalty
        solved = np.linalg.solve(gram, design.T @ (targets - means))
        weights[experts] = solved.T.astype(np.float32)
        bias[experts] = (means - centre @ solved).astype(np.float32)
    return LinearHeads(weights, bias)


def fit_neighbours(vectors: FloatArray, scores: Floats, rng: np.random.Generator, k: int = NEIGHBOURS_K) -> Neighbours:
    """Keep at most 4,096 training prompts to look among."""
    rows = np.arange(len(vectors))
    if len(rows) > MAX_NEIGHBOURS_STORED:
        rows = np.sort(rng.choice(rows, MAX_NEIGHBOURS_STORED, replace=False))
    seen = np.isfinite(scores[rows])
    centred = np.where(seen, scores[rows] - overall_means(scores), 0.0)
    return Neighbours(vectors[rows], centred.astype(np.float32), seen.astype(np.float32), k)


def choose_blend(base: Floats, views: dict[str, Floats], scores: Floats) -> BlendWeights:
    """Stacking (Breiman 1996): the weights of least squared error on out-of-fold predictions.

    The error is taken twice and added: of the quality itself (caps and floors need it) and of the quality relative to
    the other experts on the same prompt (the choice needs it).

    Args:
        base: Mean quality per expert as known to each prompt's fold, shape (n, m).
        views: Name of a `BlendWeights` field -> out-of-fold predictions, shape (n, m).
        scores: Shape (n, m), NaN where unscored.

    The squared error likes the noisy views more than a choice among close experts does, and category-level mapping is
    what holds out of distribution (Bench-CoE, papers.md §2.5): the result is averaged with the category view alone.

    Returns:
        Weights at least 0 that sum to at most 1; what is missing to 1 stays on the overall mean.
    """
    from scipy.optimize import minimize

    names = list(views)
    seen = np.isfinite(scores)
    target = np.where(seen, scores - base, 0.0)
    columns = [np.where(seen, views[name] - base, 0.0) for name in names]
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)

    def relative(values: Floats) -> Floats:
        return np.where(seen, values - values.sum(axis=1, keepdims=True) / count, 0.0)

    stacked = [np.concatenate([column.ravel(), relative(column).ravel()]) for column in columns]
    goal = np.concatenate([target.ravel(), relative(target).ravel()])
    gram = np.array([[a @ b for b in stacked] for a in stacked])
    cross = np.array([a @ goal for a in stacked])
    scale = float(goal @ goal) or 1.0
    result = minimize(
        lambda w: float(w @ gram @ w - 2 * cross @ w) / scale,
        np.full(len(names), 0.2),
        jac=lambda w: 2 * (gram @ w - cross) / scale,
        bounds=[(0.0, 1.0)] * len(names),
        constraints=[{"type": "ineq", "fun": lambda w: 1.0 - w.sum(), "jac": lambda w: -np.ones_like(w)}],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 200},
    )
    found = dict(zip(names, np.clip(result.x, 0.0, 1.0).tolist(), strict=True))
    for name in found:
        found[name] = (1.0 - CATEGORY_PRIOR) * found[name] + (CATEGORY_PRIOR if name == "category" else 0.0)
    # A hundredth of a weight moves no decision and is not worth its lookups.
    return BlendWeights(**{name: (weight if weight >= 0.01 else 0.0) for name, weight in found.items()})
