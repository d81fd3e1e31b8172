"""The cost-quality plane: non-decreasing convex hull and the area under it (RouterBench, arXiv 2403.12031)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def non_decreasing_hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Vertices of the non-decreasing convex hull of points in the cost-quality plane.

    The line between two points is what one gets by tossing a coin between them; a point that costs more and is worse
    than another is never used. The first vertex is the cheapest point, the last the best.

    Args:
        cost: Shape (k,), any unit.
        quality: Shape (k,).

    Returns:
        Costs (strictly rising) and qualities (strictly rising, with falling slope) of the vertices.
    """
    order = np.lexsort((-quality, cost))
    xs: list[float] = []
    ys: list[float] = []
    for x, y in zip(cost[order].tolist(), quality[order].tolist(), strict=True):
        if ys and y <= ys[-1]:
            continue
        while len(xs) >= 2 and (ys[-1] - ys[-2]) * (x - xs[-2]) <= (y - ys[-2]) * (xs[-1] - xs[-2]):
            xs.pop()
            ys.pop()
        xs.append(x)
        ys.append(y)
    return np.array(xs), np.array(ys)


def aiq(cost: Floats, quality: Floats, low: float, high: float) -> float:
    """Average improvement in quality: mean height of the hull over the cost range [low, high].

    AIQ = 1 / (c_max - c_min) · ∫ hull(c) dc, with the hull padded flat to the right of its last vertex, as RouterBench
    pads it to the largest cost compared (and to the left of its first). Comparable only for the same range and pool:
    state both. Here the range is that of the single experts, and every router may also call the cheapest of them
    always, so callers include that point.

    Returns:
        NaN when the range is empty or there is no point.
    """
    if not cost.size or not high > low:
        return float("nan")
    xs, ys = non_decreasing_hull(cost, quality)
    inner = xs[(xs > low) & (xs < high)]
    grid = np.concatenate(([low], inner, [high]))
    heights = np.interp(grid, xs, ys)
    return float((np.diff(grid) * (heights[1:] + heights[:-1]) / 2).sum() / (high - low))


def cost_at_quality(cost: Floats, quality: Floats, target: float) -> float:
    """Least cost at which the hull reaches a quality (by mixing two points where need be); NaN when it never does."""
    if not cost.size:
        return float("nan")
    xs, ys = non_decreasing_hull(cost, quality)
    if target > ys[-1]:
        return float("nan")
    return float(np.interp(target, ys, xs))
