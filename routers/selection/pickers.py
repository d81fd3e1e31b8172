"""Selects the expert among those that may answer. Deterministic: ties are broken by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures


def by_utility(
    figures: CallFigures, admissible: npt.NDArray[np.intp], utility: Column, turn: int = 0
) -> npt.NDArray[np.intp]:
    """Order the admissible experts: highest utility first.

    Ties go to the higher predicted quality, then the lower cost (unknown counts as the highest), then the fewer calls
    in flight, then the name, beginning with another one at each turn.

    Args:
        figures: Of the request, over the pool.
        admissible: Positions in the pool, k of them.
        utility: Shape (k,).
        turn: With which of the names, in their order, the last tie-break begins.

    Returns:
        Indices into `admissible`, best first, shape (k,).
    """
    order = (-utility).argsort(kind="stable")
    ranked = utility.take(order)
    if not np.count_nonzero(ranked[1:] == ranked[:-1]):
        return order
    # The later keys are worth their while only where utilities tie.
    cost = figures.cost_usd.expected[admissible]
    by_name = figures.roster.name_rank[admissible].argsort().argsort()
    keys = (
        (by_name - turn) % len(by_name),
        figures.live.in_flight[admissible],
        np.where(np.isnan(cost), np.inf, cost),
        -figures.quality[admissible],
        -utility,
    )
    return np.lexsort(keys)
