"""Metrics of single decisions: what was picked against what would have been best on the same prompt.

All take `scores` of shape (n, m), n prompts by m experts, NaN where nobody scored, and `mix` of shape (n, m): the
probability with which each expert is picked on each prompt (one-hot for a deterministic router, uniform for a random
one, so that its *expected* value is measured and not one draw). All return one value per prompt, shape (n,), so that a
bootstrap may resample prompts; NaN where the prompt says nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def one_hot(choices: npt.NDArray[np.int64], experts: int) -> Floats:
    """Choice indices of shape (n,) as a mix of shape (n, m); a row of zeros where the choice is -1 (nobody)."""
    mix = np.zeros((len(choices), experts))
    made = np.flatnonzero(choices >= 0)
    mix[made, choices[made]] = 1.0
    return mix


def picked_values(values: Floats, mix: Floats) -> Floats:
    """Expected value of the pick per prompt: quality from scores, dollars from costs.

    A mix over several experts is renormalised over those with a value. NaN where none of the picked experts has one,
    or nobody was picked.

    Args:
        values: Shape (n, m), NaN where unknown.
        mix: Shape (n, m).
    """
    known = np.isfinite(values)
    weight = np.where(known, mix, 0.0)
    total = weight.sum(axis=1)
    found = (np.where(known, values, 0.0) * weight).sum(axis=1)
    return np.asarray(np.divide(found, total, out=np.full(len(values), np.nan), where=total > 0))


def best_scores(scores: Floats) -> Floats:
    """The oracle's quality per prompt: the best score anybody got. NaN where nobody was scored."""
    known = np.isfinite(scores)
    best = np.where(known, scores, -np.inf).max(axis=1)
    return np.asarray(np.where(known.any(axis=1), best, np.nan), dtype=np.float64)


def picked_a_best(scores: Floats, mix: Floats) -> Floats:
    """Selection accuracy with ties counted: the pick scored as high as anybody did.

    Tryage's share of prompts "where the truly best model is picked" (arXiv 2308.11601), `1[L_pick = min_i L_i]`. With
    right-or-wrong scores most prompts tie, and where every expert fails every pick counts: read it beside `random`.
    """
    best = best_scores(scores)[:, None]
    return picked_values(np.where(np.isfinite(scores), (scores >= best).astype(np.float64), np.nan), mix)


def picked_the_only_best(scores: Floats, mix: Floats) -> Floats:
    """Strict selection accuracy: the same, over the prompts on which exactly one expert is best; NaN on the others.

    Chance is 1/m here. These are the prompts that tell routers apart ("model-recall failure on queries only one or two
    models solve", LLMRouterBench, arXiv 2601.07206).
    """
    best = best_scores(scores)[:, None]
    alone = np.where(np.isfinite(scores), scores >= best, False).sum(axis=1) == 1
    return np.where(alone, picked_a_best(scores, mix), np.nan)


def regrets(scores: Floats, mix: Floats) -> Floats:
    """Regret per prompt: the best score anybody got minus the pick's; `L_pick - min_i L_i` in Tryage's terms."""
    return np.asarray(best_scores(scores) - picked_values(scores, mix))


def right_where_few_are(scores: Floats, mix: Floats, few: int = 2, right: float = 0.5) -> Floats:
    """Recall of the rare right expert: was the pick right, over prompts that one to `few` experts get right; else NaN.

    LLMRouterBench (arXiv 2601.07206) finds most of the gap to the oracle here: "model-recall failure on queries only
    one or two models solve". Chance is at most `few` in m.

    Args:
        scores: As above.
        mix: As above.
        few: At most so many experts may be right; the pool must be larger, or every prompt says nothing (NaN).
        right: Least score that counts as right.
    """
    known = np.isfinite(scores)
    correct = known & (scores >= right)
    count = correct.sum(axis=1)
    rare = (count >= 1) & (count <= few) & (known.sum(axis=1) > few)
    return np.where(rare, picked_values(np.where(known, correct.astype(np.float64), np.nan), mix), np.nan)
