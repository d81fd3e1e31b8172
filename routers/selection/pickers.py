"""Selects the expert among those that may answer. Deterministic: the last tie is broken by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures


def by_utility(figures: CallFigures, admissible: npt.NDArray[np.intp], utility: Column) -> npt.NDArray[np.intp]:
    """Order the admissible experts: highest utility first.

    Ties go to the higher predicted quality, then the lower cost (unknown counts as the highest), then to who has the
    fewest calls in flight, then the fewest recent ones, so that equal replicas share the load, and last by name.

    Args:
        figures: Of the request, over the pool.
        admissible: Positions in the pool, k of them.
        utility: Shape (k,).

    Returns:
        Indices into `admissible`, best first, shape (k,).
    """
    order = (-utility).argsort(kind="stable")
    ranked = utility.take(order)
    if not np.count_nonzero(ranked[1:] == ranked[:-1]):
        return order
    # The later keys are worth their while only where utilities tie.
    cost = figures.cost_usd.expected[admissible]
    keys = (
        figures.roster.name_rank[admissible],
        figures.live.recent_calls[admissible],
        figures.live.in_flight[admissible],
        np.where(np.isnan(cost), np.inf, cost),
        -figures.quality[admissible],
        -utility,
    )
    return np.lexsort(keys)
