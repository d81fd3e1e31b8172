"""RouterArena (arXiv 2510.00202): its score, and how close a router comes to the cheapest right expert.

Formulas as in the authors' published `compute_arena_score` and optimality code. Their score compares routers with pools
of their own; between routers on one pool, as here, it is only another weighting of quality and cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: β, and the cost range in US dollars per 1,000 queries, of the published leaderboard.
BETA = 0.1
DEAREST_USD_PER_1K = 200.0
CHEAPEST_USD_PER_1K = 0.0044

#: RouterArena counts an answer as right only at full score.
RIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Optimality:
    """How close a router comes to the oracle that takes the cheapest right expert; each in [0, 1], NaN if undefined.

    Attributes:
        selection: Opt.Sel: of the prompts it gets right, the share on which it took the cheapest right expert.
        cost: Opt.Cost: what the oracle pays for the prompts the router gets right, over what the router pays for them.
        accuracy: Opt.Acc: prompts the router gets right over prompts anybody gets right.
    """

    selection: float
    cost: float
    accuracy: float


def arena_score(accuracy: float, cost_usd_per_1k: float, beta: float = BETA) -> float:
    """S = (1 + β) A C / (β A + C), with C = (log2 c_max - log2 c) / (log2 c_max - log2 c_min), c held to the range.

    Args:
        accuracy: In [0, 1].
        cost_usd_per_1k: US dollars per 1,000 queries, positive.
        beta: Weight of cost against accuracy; small means that accuracy decides.

    Returns:
        In [0, 1]; NaN for an unknown or a non-positive cost, where the authors refuse to score.
    """
    if not cost_usd_per_1k > 0 or math.isnan(accuracy):
        return float("nan")
    held = max(CHEAPEST_USD_PER_1K, min(cost_usd_per_1k, DEAREST_USD_PER_1K))
    span = math.log2(DEAREST_USD_PER_1K) - math.log2(CHEAPEST_USD_PER_1K)
    cheapness = (math.log2(DEAREST_USD_PER_1K) - math.log2(held)) / span
    below = beta * accuracy + cheapness
    return (1 + beta) * accuracy * cheapness / below if below else 0.0


def optimality(scores: Floats, cost_usd: Floats, mix: Floats) -> Optimality:
    """Opt.Sel, Opt.Cost and Opt.Acc of a router.

    Where several right experts cost the same, each of them counts as the cheapest. The published code sums Opt.Acc over
    prompts that the router has right, which makes it 1 for everybody; the leaderboard's figures and its text are the
    ratio of accuracies, which is what stands here.

    Args:
        scores: Shape (n, m), NaN where unknown; such cells are not right.
        cost_usd: Shape (n, m), NaN where unknown; such experts are never the oracle's choice.
        mix: Probability of each expert, shape (n, m); expectations are taken for a random router.
    """
    right = np.isfinite(scores) & (scores >= RIGHT) & np.isfinite(cost_usd)
    price = np.where(right, cost_usd, np.inf)
    least = price.min(axis=1, initial=np.inf)
    solved = np.isfinite(least)
    won = np.where(right, mix, 0.0)
    right_share = float(won.sum())
    paid = float((np.where(right, cost_usd, 0.0) * won).sum())
    needed = float((np.where(solved, least, 0.0) * won.sum(axis=1)).sum())
    cheapest = right & (price <= least[:, None])
    return Optimality(
        selection=float(won[cheapest].sum()) / right_share if right_share else float("nan"),
        cost=needed / paid if paid else float("nan"),
        accuracy=right_share / float(solved.sum()) if solved.any() else float("nan"),
    )
