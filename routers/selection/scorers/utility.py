"""The utility: predicted quality minus priced constraints C_j (Tryage's objective, arXiv 2308.11601).

    U_n(x) = λ_quality q̂_n(x) - Σ_j λ_j C_j(n) - (μ_usd cost + μ_j energy + μ_ms ttft)
              + [n answered last] bonus + [n is a null expert] (bonus - price of the dial τ)

Estimates are the expected ones; worst cases are for caps. A new scorer is a file beside this and a line in `SCORERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.selection.scorers.average_budgets import AVERAGE_BUDGETS
from pointsman.routers.selection.scorers.bonuses import NULL, STAY
from pointsman.routers.selection.scorers.kind import Positions, Score, Scorer
from pointsman.routers.selection.scorers.weighted import WEIGHTED
from pointsman.routers.types import RouteRequest

SCORERS: Final[tuple[Scorer, ...]] = (
    WEIGHTED,
    AVERAGE_BUDGETS,
    STAY,
    NULL,
)


def scores_of(scorers: Sequence[Scorer] = SCORERS) -> tuple[Score, ...]:
    """What `utility_terms` asks."""
    return tuple(scorer.score for scorer in scorers)


_SCORES: Final = scores_of()


def utility_terms(
    request: RouteRequest, figures: CallFigures, admissible: Positions, asked: Sequence[Score] = _SCORES
) -> dict[str, Column]:
    """The terms of the utility of the admissible experts: quality positive, what is priced negative.

    Args:
        request: Its weights, prices and session; a term without a price is left out.
        figures: Of the request, over the pool.
        admissible: Positions in the pool, k of them.
        asked: What gives the terms beside quality.

    Returns:
        Name of the term -> shape (k,).
    """
    weight, quality = request.budget.weights.quality, figures.quality
    if admissible is not figures.roster.positions:
        quality = quality[admissible]
    terms = {"quality": quality if weight == 1.0 else weight * quality}
    for score in asked:
        found = score(request, figures, admissible)
        if found is not None:
            terms.update(found)
    return terms
