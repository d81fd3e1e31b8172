"""How good a front of trade-offs is: what it dominates, and its regret for every preference.

Every objective is to be maximised; negate what should be small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def hypervolume(points: Floats, reference: Floats) -> float:
    """Volume of what the points dominate above a reference point, exact in two and three dimensions.

    The S-metric (Zitzler & Thiele 1998). In three dimensions, slices: between two heights the dominated area is that of
    the points above them.

    Args:
        points: Shape (k, 2) or (k, 3). Those that are not above the reference in every objective add nothing.
        reference: Shape (2,) or (3,).

    Raises:
        ValueError: Another number of objectives.
    """
    if points.ndim != 2 or points.shape[1] not in (2, 3) or reference.shape != (points.shape[1],):
        raise ValueError(f"points of shape (k, 2) or (k, 3) and a reference of as many, not {points.shape}")
    above = (points - reference)[(points > reference).all(axis=1)]
    if above.shape[1] == 2:
        return _area(above)
    heights = np.unique(above[:, 2])
    thickness = np.diff(heights, prepend=0.0)
    return float(
        sum(_area(above[above[:, 2] >= top, :2]) * slice_ for top, slice_ in zip(heights, thickness, strict=True))
    )


def r2_indicator(points: Floats, weights: Floats, utopia: Floats) -> float:
    """Mean over preferences of the regret of the best point for each: 0 when the utopian point itself is offered.

    R2 with the weighted Chebyshev utility, mean_w min_p max_j w_j (z_j - p_j) (Hansen & Jaszkiewicz 1998; Brockhoff,
    Wagner & Trautmann 2012). Lower is better.

    Args:
        points: Shape (k, d), at least one.
        weights: Preferences, non-negative, shape (m, d).
        utopia: At least as good as every point in every objective, shape (d,).
    """
    short = utopia - points
    return float((weights[:, None, :] * short[None, :, :]).max(axis=2).min(axis=1).mean())


def _area(points: Floats) -> float:
    """Area between the origin and the staircase of points, all positive, shape (k, 2)."""
    order = np.argsort(-points[:, 0], kind="stable")
    wide, high = points[order, 0], np.maximum.accumulate(points[order, 1])
    return float((wide * np.diff(high, prepend=0.0)).sum())
