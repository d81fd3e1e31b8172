"""Were budgets kept? Caps per request, and averages over a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Adherence:
    """How a cap was kept.

    Attributes:
        over: Share of requests above the cap, of those with a known amount.
        avoidable: Share above it although somebody in the pool would have kept it.
        mean_excess: Mean relative excess of those above it; 0 when none is.
    """

    over: float
    avoidable: float
    mean_excess: float


def cap_adherence(spent: Floats, cap: float, feasible: npt.NDArray[np.bool_]) -> Adherence:
    """How a hard cap was kept.

    Args:
        spent: Milliseconds, joules or dollars of each request, shape (n,), NaN where unknown (or refused).
        cap: In the same unit, positive.
        feasible: Whether some expert would have kept the cap, shape (n,).

    Returns:
        NaNs when no amount is known.
    """
    known = np.isfinite(spent)
    if not known.any():
        return Adherence(float("nan"), float("nan"), float("nan"))
    over = known & (spent > cap)
    excess = spent[over] / cap - 1
    total = int(known.sum())
    return Adherence(
        over=float(over.sum() / total),
        avoidable=float((over & feasible).sum() / total),
        mean_excess=float(excess.mean()) if excess.size else 0.0,
    )


def average_excess(spent: Floats, allowed: float) -> float:
    """Relative excess of the mean over what was allowed on average: 0.02 is two per cent above, negative below it."""
    known = spent[np.isfinite(spent)]
    return float(known.mean()) / allowed - 1 if known.size and allowed > 0 else float("nan")


def sliding_means(at_s: Floats, spent: Floats, window_s: float, ends_s: Floats) -> Floats:
    """Mean of what was spent in the windows (end - window, end].

    Args:
        at_s: When each request came, rising, shape (n,).
        spent: Shape (n,), NaN where unknown (or refused).
        window_s: Length of a window.
        ends_s: Where windows end, shape (k,).

    Returns:
        Shape (k,); NaN for a window without a known amount.
    """
    known = np.isfinite(spent)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, spent, 0.0))))
    count = np.concatenate(([0], np.cumsum(known)))
    last, first = (np.searchsorted(at_s, moments, side="right") for moments in (ends_s, ends_s - window_s))
    many = count[last] - count[first]
    return np.asarray(np.divide(total[last] - total[first], many, out=np.full(len(ends_s), np.nan), where=many > 0))
