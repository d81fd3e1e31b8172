"""How good the answers are, and where that lies between the best single expert and the oracle."""

from __future__ import annotations

import numpy as np

from pointsman.evals.metrics import quality as formulas
from pointsman.evals.metrics.metric import BootstrapEstimate, metric
from pointsman.evals.router_result import RouterResult


@metric(better="higher", headline=True, terminal_rank=0, terminal_interval=True)
def quality(result: RouterResult) -> BootstrapEstimate:
    """Mean score of the picked experts. Picks that nobody scored are left out, see `coverage`."""
    return result.quality


@metric(
    title="Δ best single",
    better="higher",
    signed=True,
    headline=True,
    terminal_rank=0,
    terminal_interval=True,
    legend="paired",
)
def quality_minus_best_single(result: RouterResult) -> BootstrapEstimate:
    """Paired difference in quality to the best single expert, over the prompts on which both are scored."""
    return result.mean("gain")


@metric(title="gap closed", unit="%", better="higher", headline=True, terminal_rank=1)
def gap_closed(result: RouterResult) -> BootstrapEstimate:
    """(quality − best single) / (oracle − best single).

    0 is not routing, 1 the oracle, less than 0 worse than not routing.
    """
    gain, room = result.mean("gain"), result.mean("room")
    return BootstrapEstimate(
        float(formulas.gap_closed(np.array(gain.value), np.array(0.0), np.array(room.value))),
        formulas.gap_closed(gain.samples, np.zeros(len(gain.samples)), room.samples),
    )


@metric(title="macro quality", better="higher", terminal_rank=None)
def quality_macro(result: RouterResult) -> float:
    """Mean over the categories of the mean score in each."""
    if not result.policy.chooses:
        return float("nan")
    by_category = formulas.by_label(result.measured.value("quality"), result.trial.test.categories)
    return formulas.mean_known(np.array(list(by_category.values())))


@metric(title="Gain@B", unit="%", better="higher", source="LLMRouterBench", terminal_rank=None)
def gain_over_single(result: RouterResult) -> float:
    """Quality / best single − 1."""
    single = formulas.mean_known(result.references.single.value("quality"))
    return formulas.gain_over_single(result.quality.value, single)


@metric(title="Gap@O", unit="%", better="lower", source="LLMRouterBench", terminal_rank=None)
def gap_to_oracle(result: RouterResult) -> float:
    """1 − quality / oracle."""
    return formulas.gap_to_oracle(result.quality.value, result.references.oracle_quality)


@metric(unit="%", headline=True, terminal_rank=0, hidden_at=1.0)
def coverage(result: RouterResult) -> float:
    """Share of the prompts whose pick is scored."""
    return 1.0 if result.is_hull_alone else formulas.coverage(result.measured.value("quality"))
