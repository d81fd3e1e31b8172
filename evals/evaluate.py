"""From policies on a trial to rows of the report: point values, intervals and differences from one paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.baselines import BEST_SINGLE, ORACLE, ZERO_ROUTER
from evals.comparisons import compare, compared_pairs
from evals.metrics.bootstrap import interval
from evals.metrics.calibration import brier, expected_calibration_error, reliability
from evals.metrics.deferral import calls_for_quality, cpt
from evals.metrics.hull import aiq, cost_at_quality, non_decreasing_hull
from evals.metrics.hypervolume import hypervolume, r2_indicator
from evals.metrics.operating_points import cost_save, pareto_distance, perf_gain
from evals.metrics.quality import by_label, coverage, gain_over_single, gap_closed, gap_to_oracle, mean_known
from evals.metrics.router_arena import arena_score, optimality
from evals.policies import Policy, Trial
from evals.report import BandPoint, CalibrationBin, Comparison, CurvePoint, ExpertRow, RouterRow
from evals.resampling import BAND_SHARES, Measured, Points, Samples, bootstrap, measure, pair_of

Floats = npt.NDArray[np.float64]

#: Weights of quality and of cheapness, from all of one to all of the other.
_WISHES = np.stack([np.linspace(0, 1, 11), np.linspace(1, 0, 11)], axis=1)


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
) -> Evaluation:
    """Score policies on a trial.

    Args:
        trial: The ground.
        policies: With `best_single` among them; `zero_router` too for differences in AIQ.
        resamples: Bootstrap resamples; 0 for point values alone.
        seed: Of the bootstrap.
        progress: Told the share of the bootstrap that is done.
    """
    measured = measure(trial, policies)
    samples = bootstrap(trial, measured, compared_pairs(policies), resamples, seed, progress)
    ground = _Ground.of(trial, measured)
    rows = tuple(_row(ground, samples, i) for i in range(len(policies)))
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


def cost_range(trial: Trial) -> tuple[float, float] | None:
    """Mean cost of the cheapest and of the dearest single expert, in dollars per prompt: the range of AIQ."""
    if not trial.has_costs:
        return None
    means = trial.priced.cost_usd[:, trial.priced_experts].mean(axis=0)
    return float(means.min()), float(means.max())


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """The trial, everybody on it, and those that others are held against."""

    trial: Trial
    measured: Sequence[Measured]
    single: Measured
    zero: int | None
    oracle_quality: float
    all_cost: Floats
    all_quality: Floats

    @classmethod
    def of(cls, trial: Trial, measured: Sequence[Measured]) -> _Ground:
        named = {one.policy.name: i for i, one in enumerate(measured)}
        # Nobody can reach the oracle: with it among them every front would be its curve.
        planes = [_hull(one.points) for one in measured if one.points is not None and one.policy.name != ORACLE]
        return cls(
            trial=trial,
            measured=measured,
            single=measured[named[BEST_SINGLE]],
            zero=named.get(ZERO_ROUTER),
            oracle_quality=mean_known(measured[named[ORACLE]].value("quality")) if ORACLE in named else float("nan"),
            all_cost=np.concatenate([cost for cost, _ in planes]) if planes else np.empty(0),
            all_quality=np.concatenate([quality for _, quality in planes]) if planes else np.empty(0),
        )


def _row(ground: _Ground, samples: Samples, i: int) -> RouterRow:
    trial, own = ground.trial, ground.measured[i]
    policy, plane = own.policy, own.points
    gain, room = mean_known(own.value("gain")), mean_known(own.value("room"))
    resamples = samples.means.shape[2]
    gaps = gap_closed(samples.of(i, "gain"), np.zeros(resamples), samples.of(i, "room"))
    zero = ground.zero
    area = _area(trial, plane)
    zero_area = _area(trial, ground.measured[zero].points) if zero is not None else float("nan")
    over_zero = samples.aiq[i] - samples.aiq[zero] if zero is not None else np.full(resamples, np.nan)
    quality, cost = mean_known(own.value("quality")), mean_known(own.value("cost"))
    hull = not policy.chooses and plane is not None
    if hull and plane is not None:
        xs, ys = _hull(plane)
        quality, cost = float(ys[-1]), float(xs[-1])
    single_quality = mean_known(ground.single.value("quality"))
    best = (
        optimality(trial.test.scores, trial.test.cost_usd, policy.mix) if trial.has_costs and policy.chooses else None
    )
    times = policy.latency_ms
    categories = by_label(own.value("quality"), trial.test.categories) if policy.chooses else {}
    return RouterRow(
        name=policy.name,
        kind=policy.kind,
        quality=_or_none(quality),
        quality_ci95=_interval(samples.of(i, "quality")),
        quality_macro=_or_none(mean_known(np.array(list(categories.values())))),
        quality_minus_best_single=_or_none(gain),
        quality_minus_best_single_ci95=_interval(samples.of(i, "gain")),
        cost_usd=_or_none(cost),
        cost_usd_ci95=_interval(samples.of(i, "cost")),
        regret=_or_none(mean_known(own.value("regret"))),
        regret_ci95=_interval(samples.of(i, "regret")),
        selection_accuracy=_or_none(mean_known(own.value("best"))),
        selection_accuracy_ci95=_interval(samples.of(i, "best")),
        selection_accuracy_strict=_or_none(mean_known(own.value("only_best"))),
        selection_accuracy_strict_ci95=_interval(samples.of(i, "only_best")),
        recall_rare=_or_none(mean_known(own.value("rare"))),
        recall_rare_ci95=_interval(samples.of(i, "rare")),
        gain_over_single=_or_none(gain_over_single(quality, single_quality)),
        gap_to_oracle=_or_none(gap_to_oracle(quality, ground.oracle_quality)),
        gap_closed=_or_none(float(gap_closed(np.array(gain), np.array(0.0), np.array(room)))),
        gap_closed_ci95=_interval(gaps),
        aiq=_or_none(area),
        aiq_ci95=_interval(samples.aiq[i]),
        aiq_minus_zero_router=_or_none(area - zero_area),
        aiq_minus_zero_router_ci95=_interval(over_zero),
        **_operating_points(ground, own),
        arena_score=_or_none(arena_score(quality, 1000 * cost)) if trial.has_costs else None,
        opt_sel=_or_none(best.selection) if best is not None else None,
        opt_cost=_or_none(best.cost) if best is not None else None,
        opt_acc=_or_none(best.accuracy) if best is not None else None,
        apgr_ci95=_interval(samples.apgr[i]),
        **_two_experts(trial, policy),
        **_calibration(trial, policy),
        flip_rates={name: float(rate) for name, rate in policy.flips.items() if np.isfinite(rate)},
        coverage=1.0 if hull else coverage(own.value("quality")),
        curve=_curve(policy, plane, ground.single.points),
        band=_band(samples.bands.get(i)),
        quality_by_category={label: _or_none(value) for label, value in categories.items()},
        choice_shares=_shares(trial, policy),
        latency_p50_ms=float(np.quantile(times, 0.5)) if times is not None else None,
        latency_p99_ms=float(np.quantile(times, 0.99)) if times is not None else None,
        artifact_hash=policy.artifact_hash or None,
        notes=policy.notes,
    )


def _operating_points(ground: _Ground, own: Measured) -> dict[str, Any]:
    single, plane = ground.single.points, own.points
    if plane is None or single is None:
        return {}
    # The first point of a single expert is that expert; the last of anybody's is the cheapest expert.
    quality, cost = float(single.quality[0].mean()), float(single.cost[0].mean())
    qualities, costs = plane.quality.mean(axis=1), plane.cost.mean(axis=1)
    xs, ys = _hull(plane)
    shares = {
        f"cost_share_at_{percent}": _or_none(cost_at_quality(costs, qualities, percent / 100 * quality) / cost)
        for percent in (90, 95, 100)
    }
    return {
        **shares,
        "perf_gain": _or_none(perf_gain(qualities, quality)),
        **_front(ground.trial, costs, qualities),
        "cost_save": _or_none(cost_save(costs, qualities, cost, quality)),
        "pareto_distance": None
        if own.policy.name == ORACLE
        else _or_none(pareto_distance(xs, ys, ground.all_cost, ground.all_quality)),
    }


def _front(trial: Trial, costs: Floats, qualities: Floats) -> dict[str, Any]:
    limits = cost_range(trial)
    if limits is None or not limits[1] > 0:
        return {}
    points = np.stack([qualities, 1 - costs / limits[1]], axis=1)
    return {
        "hypervolume": _or_none(hypervolume(points, np.zeros(2))),
        "r2": _or_none(r2_indicator(points, _WISHES, np.ones(2))),
    }


def _two_experts(trial: Trial, policy: Policy) -> dict[str, Any]:
    pair = pair_of(trial, policy)
    if pair is None or not pair.rows.size:
        return {}
    share, quality = pair.curve
    weak, strong = float(pair.weak.mean()), float(pair.strong.mean())
    return {
        "apgr": _or_none(pair.apgr),
        "cpt50": _or_none(cpt(share, quality, weak, strong, 0.5)),
        "cpt80": _or_none(cpt(share, quality, weak, strong, 0.8)),
        "pair_curve": tuple(zip(share.tolist(), quality.tolist(), strict=True)),
        "calls_for_95": _or_none(calls_for_quality(share, quality, 0.95 * strong)),
    }


def _calibration(trial: Trial, policy: Policy) -> dict[str, Any]:
    if policy.predicted is None:
        return {}
    bins = reliability(policy.predicted, trial.test.scores)
    return {
        "brier": _or_none(brier(policy.predicted, trial.test.scores)),
        "calibration_error": _or_none(expected_calibration_error(bins)),
        "calibration": tuple(
            CalibrationBin(predicted=one.predicted, observed=one.observed, count=one.count) for one in bins
        ),
    }


def _hull(plane: Points) -> tuple[Floats, Floats]:
    return non_decreasing_hull(plane.cost.mean(axis=1), plane.quality.mean(axis=1))


def _area(trial: Trial, plane: Points | None) -> float:
    limits = cost_range(trial)
    if plane is None or limits is None:
        return float("nan")
    return aiq(plane.cost.mean(axis=1), plane.quality.mean(axis=1), *limits)


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


def _interval(samples: Floats) -> tuple[float, float] | None:
    low, high = interval(samples)
    return (low, high) if np.isfinite(low) else None


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
