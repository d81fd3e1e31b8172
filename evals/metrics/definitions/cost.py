"""What the answers cost, and what quality is to be had for how much. Undefined where no costs are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import ORACLE
from pointsman.evals.metrics import hypervolume as fronts
from pointsman.evals.metrics import operating_points
from pointsman.evals.metrics.hull import cost_at_quality
from pointsman.evals.metrics.metric import BootstrapEstimate, metric
from pointsman.evals.resampling import Points
from pointsman.evals.router_result import RouterResult, cost_range, mean_aiq, mean_hull

Floats = npt.NDArray[np.float64]
_UNDEFINED = float("nan")

#: Weights of quality and of cheapness, from all of one to all of the other.
_PREFERENCES = np.stack([np.linspace(0, 1, 11), np.linspace(1, 0, 11)], axis=1)


@metric(title="$/1k", unit="$/1k", better="lower", headline=True, terminal_rank=0)
def cost_usd(result: RouterResult) -> BootstrapEstimate:
    """Mean cost per prompt in US dollars; null as soon as one pick has no known cost."""
    return result.cost_usd


@metric(
    title="AIQ",
    better="higher",
    source="RouterBench",
    headline=True,
    terminal_rank=0,
    legend="over the single experts' cost range",
)
def aiq(result: RouterResult) -> BootstrapEstimate:
    """Average improvement in quality (arXiv 2403.12031).

    It is the mean height of the non-decreasing convex hull of the router's settings over the cost range of the single
    experts (`provenance.cost_range_usd`). The cheapest single expert counts as a setting, and the hull is flat right of
    its last one. Comparable only for the same pool and range.
    """
    return result.aiq


@metric(title="Δ zero router", better="higher", signed=True, headline=True, terminal_rank=None)
def aiq_minus_zero_router(result: RouterResult) -> BootstrapEstimate:
    """AIQ above that of mixing single experts blindly: what looking at the prompt adds."""
    own = result.aiq
    if result.references.zero is None:
        return BootstrapEstimate(_UNDEFINED, np.full(len(own.samples), np.nan))
    position, zero = result.references.zero
    other = mean_aiq(result.trial, zero.points)
    return BootstrapEstimate(own.value - other, own.samples - result.references.samples.aiq[position])


@metric(title="$ at 90 %", unit="%", better="lower", terminal_rank=None)
def cost_share_at_90(result: RouterResult) -> float:
    """Cost at which the hull reaches 90 % of the best single expert's quality, relative to that expert's cost."""
    return _cost_share(result, 0.90)


@metric(title="$ at 95 %", unit="%", better="lower", headline=True, terminal_rank=4)
def cost_share_at_95(result: RouterResult) -> float:
    """Cost at which the hull reaches 95 % of the best single expert's quality, relative to that expert's cost."""
    return _cost_share(result, 0.95)


@metric(title="$ at 100 %", unit="%", better="lower", terminal_rank=None)
def cost_share_at_100(result: RouterResult) -> float:
    """Cost at which the hull reaches all of the best single expert's quality, relative to that expert's cost.

    Null if it never does.
    """
    return _cost_share(result, 1.0)


@metric(title="PerfGain", unit="%", better="higher", source="LLMRouterBench", terminal_rank=None)
def perf_gain(result: RouterResult) -> float:
    """Best quality of any setting / best single − 1, on the prompts with known cost.

    Settings as they are, nothing interpolated.
    """
    own, single = result.points, _single(result)
    if own is None or single is None:
        return _UNDEFINED
    return operating_points.perf_gain(own.quality.mean(axis=1), single[1])


@metric(title="CostSave", unit="%", better="higher", source="LLMRouterBench", terminal_rank=None)
def cost_save(result: RouterResult) -> float:
    """1 − the least cost of a setting no worse than best single / the cost of best single.

    Settings as they are, nothing interpolated; null if there is no such setting.
    """
    own, single = result.points, _single(result)
    if own is None or single is None:
        return _UNDEFINED
    return operating_points.cost_save(own.cost.mean(axis=1), own.quality.mean(axis=1), *single)


@metric(title="ParetoDist", better="lower", source="LLMRouterBench", terminal_rank=None)
def pareto_distance(result: RouterResult) -> float:
    """Mean distance of the hull's vertices to the Pareto front of all rows but the oracle.

    Its authors leave the scale open; here cost and quality are scaled to [0, 1], so that it is comparable within one
    report.
    """
    own, against = result.points, result.references
    if own is None or _single(result) is None or result.policy.name == ORACLE:
        return _UNDEFINED
    return operating_points.pareto_distance(*mean_hull(own), against.all_cost, against.all_quality)


@metric(better="higher", terminal_rank=None)
def hypervolume(result: RouterResult) -> float:
    """Area that the settings dominate in the plane of quality and cheapness, above (0, 0).

    Cheapness is 1 − cost / the most expensive single expert's mean cost.
    """
    plane = _quality_and_cheapness(result)
    return _UNDEFINED if plane is None else fronts.hypervolume(plane, np.zeros(2))


@metric(title="R2", better="lower", terminal_rank=None)
def r2(result: RouterResult) -> float:
    """R2 of the settings in the plane of `hypervolume`, over eleven preferences and with utopia at (1, 1)."""
    plane = _quality_and_cheapness(result)
    return _UNDEFINED if plane is None else fronts.r2_indicator(plane, _PREFERENCES, np.ones(2))


def _cost_share(result: RouterResult, share: float) -> float:
    own, single = result.points, _single(result)
    if own is None or single is None:
        return _UNDEFINED
    cost, quality = single
    if not cost:
        return _UNDEFINED  # of an expert that costs nothing there are no shares
    return cost_at_quality(own.cost.mean(axis=1), own.quality.mean(axis=1), share * quality) / cost


def _single(result: RouterResult) -> tuple[float, float] | None:
    """Mean cost and quality of the best single expert on the prompts with known cost; None without costs."""
    points: Points | None = result.references.single.points
    # The first point of a single expert is that expert; the last of anybody's is the cheapest expert.
    return None if points is None else (float(points.cost[0].mean()), float(points.quality[0].mean()))


def _quality_and_cheapness(result: RouterResult) -> Floats | None:
    own, limits = result.points, cost_range(result.trial)
    if own is None or _single(result) is None or limits is None or not limits[1] > 0:
        return None
    return np.stack([own.quality.mean(axis=1), 1 - own.cost.mean(axis=1) / limits[1]], axis=1)
