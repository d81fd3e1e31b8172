"""Is predicted quality what it says? Brier score and expected calibration error of predictions against outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions of about the same height.

    Attributes:
        predicted: Their mean.
        observed: Mean outcome.
        count: How many.
    """

    predicted: float
    observed: float
    count: int


def brier(predicted: Floats, outcome: Floats) -> float:
    """Mean squared difference of prediction and outcome (Brier 1950), over the cells where both are known.

    Args:
        predicted: In [0, 1], any shape, NaN where unknown.
        outcome: In [0, 1], same shape, NaN where unknown.
    """
    known = np.isfinite(predicted) & np.isfinite(outcome)
    return float(((predicted - outcome)[known] ** 2).mean()) if known.any() else float("nan")


def reliability(predicted: Floats, outcome: Floats, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Predictions in bins of equal width over [0, 1], empty bins left out; arguments as `brier`."""
    known = np.isfinite(predicted) & np.isfinite(outcome)
    said, was = predicted[known], outcome[known]
    at = np.clip((said * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    total_said, total_was = (np.bincount(at, weights=values, minlength=bins) for values in (said, was))
    return tuple(
        ReliabilityBin(float(total_said[i] / count[i]), float(total_was[i] / count[i]), int(count[i]))
        for i in np.flatnonzero(count)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """ECE (Naeini et al. 2015): mean gap between predicted and observed, weighted by how many are in the bin."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.predicted - one.observed) for one in bins) / total if total else float("nan")
