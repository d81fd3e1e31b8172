"""From policies on a trial to rows of the report: point values, intervals and differences from one paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.comparisons import compare, compared_pairs
from pointsman.evals.metrics.bootstrap import interval
from pointsman.evals.metrics.calibration import reliability
from pointsman.evals.metrics.catalog import METRICS
from pointsman.evals.metrics.hull import non_decreasing_hull
from pointsman.evals.metrics.metric import BootstrapEstimate, Metric
from pointsman.evals.metrics.quality import by_label, coverage, mean_known
from pointsman.evals.policies import Policy, Trial
from pointsman.evals.report import BandPoint, CalibrationBin, Comparison, CurvePoint, ExpertRow, RouterRow
from pointsman.evals.resampling import BAND_SHARES, Points, bootstrap, measure
from pointsman.evals.router_result import ReferencePolicies, RouterResult

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a trial.

    Attributes:
        rows: One per policy, in order.
        comparisons: Of every router with every other row that sees no answers.
    """

    rows: tuple[RouterRow, ...]
    comparisons: tuple[Comparison, ...]


def evaluate(
    trial: Trial,
    policies: Sequence[Policy],
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    metrics: Sequence[Metric] = METRICS,
) -> Evaluation:
    """Score policies on a trial.

    Args:
        trial: The ground.
        policies: With `best_single` among them; `zero_router` too for differences in AIQ.
        resamples: Bootstrap resamples; 0 for point values alone.
        seed: Of the bootstrap.
        progress: Told the share of the bootstrap that is done.
        metrics: What is worked out of each policy; comparisons need `aiq` and `apgr` among them.
    """
    per_prompt = {one.name: one.per_prompt for one in metrics if one.per_prompt is not None}
    measured = measure(trial, policies, per_prompt)
    samples = bootstrap(trial, measured, compared_pairs(policies), resamples, seed, progress)
    references = ReferencePolicies.of(trial, measured, samples)
    rows = tuple(_row(RouterResult(references, one, i), metrics) for i, one in enumerate(measured))
    return Evaluation(rows, compare(rows, measured, samples) if resamples else ())


def expert_rows(trial: Trial) -> tuple[ExpertRow, ...]:
    """The pool's experts, one row each."""
    return tuple(
        ExpertRow(
            name=name,
            quality=_or_none(mean_known(trial.test.scores[:, j])),
            quality_train=_or_none(mean_known(trial.train.scores[:, j])),
            cost_usd=_or_none(mean_known(trial.test.cost_usd[:, j])),
            coverage=coverage(trial.test.scores[:, j]),
        )
        for j, name in enumerate(trial.test.experts)
    )


def _row(result: RouterResult, metrics: Sequence[Metric]) -> RouterRow:
    trial, policy = result.trial, result.policy
    found = {one.name: one.compute(result) for one in metrics}
    sampled = {name: value for name, value in found.items() if isinstance(value, BootstrapEstimate)}
    around = {name: interval(value.samples) for name, value in sampled.items()}
    categories = by_label(result.measured.value("quality"), trial.test.categories) if policy.chooses else {}
    return RouterRow(
        name=policy.name,
        kind=policy.kind,
        metrics={
            name: _or_none(value.value if isinstance(value, BootstrapEstimate) else value)
            for name, value in found.items()
        },
        intervals={name: ends for name, ends in around.items() if np.isfinite(ends[0])},
        pair_curve=_pair_curve(result),
        calibration=_calibration(trial, policy),
        flip_rates={name: float(rate) for name, rate in policy.flips.items() if np.isfinite(rate)},
        curve=_curve(policy, result.points, result.references.single.points),
        band=_band(result.references.samples.bands.get(result.position)),
        quality_by_category={label: _or_none(value) for label, value in categories.items()},
        choice_shares=_shares(trial, policy),
        artifact_hash=policy.artifact_hash or None,
        notes=policy.notes,
    )


def _pair_curve(result: RouterResult) -> tuple[tuple[float, float], ...]:
    pair = result.pair
    return () if pair is None else tuple(zip(*(side.tolist() for side in pair.curve), strict=True))


def _calibration(trial: Trial, policy: Policy) -> tuple[CalibrationBin, ...]:
    if policy.predicted is None:
        return ()
    return tuple(
        CalibrationBin(predicted=one.predicted, observed=one.observed, count=one.count)
        for one in reliability(policy.predicted, trial.test.scores)
    )


def _curve(policy: Policy, plane: Points | None, single: Points | None) -> tuple[CurvePoint, ...]:
    if plane is None or policy.curve is None:
        return ()
    cost, quality = plane.cost.mean(axis=1), plane.quality.mean(axis=1)
    vertices = {*zip(*(side.tolist() for side in non_decreasing_hull(cost, quality)), strict=True)}
    whole = float(single.cost[0].mean()) if single is not None else float("nan")
    order = np.lexsort((quality, cost))
    return tuple(
        CurvePoint(
            weight=_or_none(float(plane.weights[i])),
            quality=float(quality[i]),
            cost_usd=float(cost[i]),
            cost_share=_or_none(float(cost[i]) / whole) if whole else None,
            best_single_share=_or_none(float(plane.best_single_share[i])),
            on_hull=(float(cost[i]), float(quality[i])) in vertices,
        )
        for i in order
    )


def _band(samples: Floats | None) -> tuple[BandPoint, ...]:
    if samples is None:
        return ()
    around = ((share, interval(drawn)) for share, drawn in zip(BAND_SHARES, samples, strict=True))
    return tuple(
        BandPoint(cost_share=float(share), low=low, high=high) for share, (low, high) in around if np.isfinite(low)
    )


def _shares(trial: Trial, policy: Policy) -> dict[str, float]:
    shares = policy.mix.mean(axis=0)
    return {name: float(share) for name, share in zip(trial.test.experts, shares, strict=True) if share > 0}


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
