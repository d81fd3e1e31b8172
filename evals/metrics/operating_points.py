"""A router's operating points against the best single expert and the Pareto front (LLMRouterBench, arXiv 2601.07206).

Unlike AIQ these take the settings a router really has: nothing is interpolated between two of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def perf_gain(quality: Floats, single: float) -> float:
    """PerfGain: the best any setting does, relative to the best single expert; negative when none gets there.

    Args:
        quality: Mean quality of each setting, shape (k,).
        single: Mean quality of the best single expert.
    """
    return float(quality.max()) / single - 1 if quality.size and single > 0 else float("nan")


def cost_save(cost: Floats, quality: Floats, single_cost: float, single_quality: float) -> float:
    """CostSave: one minus the least relative cost of a setting no worse than the best single expert.

    Negative when that quality is only to be had for more than the best single expert costs; NaN when it never is.

    Args:
        cost: Mean cost of each setting, shape (k,).
        quality: Mean quality of each setting, shape (k,).
        single_cost: Mean cost of the best single expert, positive.
        single_quality: Its mean quality.
    """
    # A setting that always asks the best single expert has its quality but for the last bits of the sum.
    enough = cost[quality >= single_quality - 1e-12]
    return 1 - float(enough.min()) / single_cost if enough.size and single_cost > 0 else float("nan")


def pareto_front(cost: Floats, quality: Floats) -> npt.NDArray[np.bool_]:
    """Which points no other one beats: none is as cheap and better, or as good and cheaper. Shape (k,)."""
    as_cheap = cost[None, :] <= cost[:, None]
    as_good = quality[None, :] >= quality[:, None]
    strictly = (cost[None, :] < cost[:, None]) | (quality[None, :] > quality[:, None])
    return np.asarray(~(as_cheap & as_good & strictly).any(axis=1))


def pareto_distance(cost: Floats, quality: Floats, all_cost: Floats, all_quality: Floats) -> float:
    """ParetoDist: mean Euclidean distance of a router's points to the nearest point of the front of all points.

    The authors describe it as the average distance to the Pareto frontier and leave the scale open. Here cost and
    quality are each brought to [0, 1] over all compared points, so a figure holds within one report.

    Args:
        cost: The router's points, shape (k,).
        quality: The same.
        all_cost: Points of everybody compared, the router's own among them, shape (j,).
        all_quality: The same.

    Returns:
        0 when every point of the router is on the front; NaN without points, or without a spread in cost or quality.
    """
    if not cost.size or not all_cost.size:
        return float("nan")
    wide, high = float(np.ptp(all_cost)), float(np.ptp(all_quality))
    if not (wide > 0 and high > 0):
        return float("nan")
    front = pareto_front(all_cost, all_quality)
    dx = (cost[:, None] - all_cost[front][None, :]) / wide
    dy = (quality[:, None] - all_quality[front][None, :]) / high
    return float(np.sqrt(dx**2 + dy**2).min(axis=1).mean())
