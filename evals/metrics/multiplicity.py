"""Many comparisons at once: p-values from a bootstrap, and Holm's correction of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def bootstrap_p(differences: Floats) -> float:
    """Two-sided p-value of "no difference": twice the smaller share of resamples on either side of 0.

    One is added to count and total (Davison and Hinkley 1997, eq. 4.11), so that p is never 0; resamples that are 0
    count on both sides.

    Args:
        differences: Bootstrap samples of a paired difference, shape (b,); NaNs are left out.

    Returns:
        In (0, 1]; NaN without defined samples.
    """
    known = differences[np.isfinite(differences)]
    if not known.size:
        return float("nan")
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (known.size + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979): the family-wise error stays at the level they are compared to.

    Args:
        p_values: NaN for a comparison that could not be made: stays NaN and does not count.

    Returns:
        Adjusted values in the order given, at most 1.
    """
    adjusted = [float("nan")] * len(p_values)
    made = sorted((p, i) for i, p in enumerate(p_values) if np.isfinite(p))
    highest = 0.0
    for rank, (p, i) in enumerate(made):
        highest = max(highest, min(1.0, (len(made) - rank) * p))
        adjusted[i] = highest
    return adjusted
