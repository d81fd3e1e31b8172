"""RouteLLM's metrics (arXiv 2406.18665): how much of the gap between two experts how many calls recover."""

from __future__ import annotations

from pointsman.evals.metrics.deferral import calls_for_quality, cpt
from pointsman.evals.metrics.metric import BootstrapEstimate, metric
from pointsman.evals.router_result import RouterResult

_UNDEFINED = float("nan")


@metric(title="APGR", better="higher", source="RouteLLM", headline=True, terminal_rank=0)
def apgr(result: RouterResult) -> BootstrapEstimate:
    """Average performance gap recovered (arXiv 2406.18665), for pools of two experts; 0.5 is random routing."""
    pair = result.pair
    samples = result.references.samples.apgr[result.position]
    return BootstrapEstimate(_UNDEFINED if pair is None else pair.apgr, samples)


@metric(title="CPT 50", unit="%", better="lower", source="RouteLLM", headline=True, terminal_rank=5)
def cpt50(result: RouterResult) -> float:
    """Share of calls to the better of two experts for 50 % of the gap between them."""
    return _calls_for_gap(result, 0.5)


@metric(title="CPT 80", unit="%", better="lower", source="RouteLLM", headline=True, terminal_rank=5)
def cpt80(result: RouterResult) -> float:
    """Share of calls to the better of two experts for 80 % of the gap between them."""
    return _calls_for_gap(result, 0.8)


@metric(title="calls for 95 %", unit="%", better="lower", source="RouteLLM", terminal_rank=None)
def calls_for_95(result: RouterResult) -> float:
    """Share of calls to the better of two experts for 95 % of its quality."""
    pair = result.pair
    return _UNDEFINED if pair is None else calls_for_quality(*pair.curve, 0.95 * float(pair.strong.mean()))


def _calls_for_gap(result: RouterResult, part: float) -> float:
    pair = result.pair
    if pair is None:
        return _UNDEFINED
    return cpt(*pair.curve, float(pair.weak.mean()), float(pair.strong.mean()), part)
