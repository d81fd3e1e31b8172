"""From policies on a trial to rows of the report: point values, and intervals from one paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.baselines import BEST_SINGLE, ZERO_ROUTER
from evals.metrics.bootstrap import interval, resample_counts, resampled_means
from evals.metrics.deferral import apgr, cpt, deferral_curve
from evals.metrics.hull import aiq, cost_at_quality, non_decreasing_hull
from evals.metrics.quality import by_label, coverage, gap_closed, mean_known
from evals.metrics.selection import best_scores, picked_a_best, picked_the_only_best, picked_values, regrets
from evals.policies import Policy, Trial
from evals.report import CurvePoint, ExpertRow, RouterRow

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """A policy in the cost-quality plane: per-prompt quality and cost of each of its settings, shape (k, priced n)."""

    weights: Floats
    quality: Floats
    cost: Floats
    best_single_share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """A policy per prompt, each of shape (n,)."""

    quality: Floats
    cost: Floats
    best: Floats
    only_best: Floats
    regret: Floats
    gain: Floats  # over best single, where both are scored
    room: Floats  # oracle over best single, on the same prompts


def evaluate(
    trial: Trial,
    policies: Sequence[Policy],
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[RouterRow, ...]:
    """Score policies on a trial.

    Args:
        trial: The ground.
        policies: With `best_single` among them; `zero_router` too for differences in AIQ.
        resamples: Bootstrap resamples; 0 for point values alone.
        seed: Of the bootstrap.
        progress: Told the share of the bootstrap that is done.

    Returns:
        One row per policy, in order.
    """
    single = next(policy for policy in policies if policy.name == BEST_SINGLE)
    single_quality = picked_values(trial.test.scores, single.mix)
    values = [_values(trial, policy, single_quality) for policy in policies]
    points = [_points(trial, policy, single) for policy in policies]
    samples = _bootstrap(trial, policies, values, points, resamples, seed, progress)
    zero = next((i for i, policy in enumerate(policies) if policy.name == ZERO_ROUTER), None)
    return tuple(_row(trial, policies, values, points, samples, i, zero) for i in range(len(policies)))


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


def _values(trial: Trial, policy: Policy, single_quality: Floats) -> _Values:
    scores = trial.test.scores
    quality = picked_values(scores, policy.mix)
    cost = picked_values(trial.test.cost_usd, policy.mix)
    gain = quality - single_quality
    # A pick that is scored but has no known cost makes the mean cost unknown, not cheap.
    chosen = policy.mix > 0
    if (chosen & trial.test.scored & ~np.isfinite(trial.test.cost_usd)).any():
        cost = np.full(len(scores), np.nan)
    return _Values(
        quality=quality,
        cost=cost,
        best=picked_a_best(scores, policy.mix),
        only_best=picked_the_only_best(scores, policy.mix),
        regret=regrets(scores, policy.mix),
        gain=gain,
        room=np.where(np.isfinite(gain), best_scores(scores) - single_quality, np.nan),
    )


def _points(trial: Trial, policy: Policy, single: Policy) -> _Points | None:
    """The policy's settings, and always asking the cheapest single expert, which every router can do."""
    if not trial.has_costs:
        return None
    scores, costs = trial.priced.scores, trial.priced.cost_usd
    single_column = int(single.mix[0].argmax()) if single.mix.any() else -1
    weights, quality, cost, share = [], [], [], []
    if policy.curve is not None:
        # Neighbouring weights often make the very same choices: one point is enough.
        choices, first = np.unique(policy.curve.choices, axis=0, return_index=True)
        rows = np.arange(scores.shape[0])
        for weight, choice in zip(policy.curve.weights[first], choices, strict=True):
            if (choice < 0).any():
                continue
            weights.append(weight)
            quality.append(scores[rows, choice])
            cost.append(costs[rows, choice])
            share.append(float((choice == single_column).mean()) if single_column >= 0 else np.nan)
    elif policy.chooses:
        mix = policy.mix[trial.priced_rows]
        found = picked_values(costs, mix)
        if not np.isfinite(found).all() or (mix[:, ~_mask(trial)] > 0).any():
            return None
        weights.append(np.nan)
        quality.append(picked_values(scores, mix))
        cost.append(found)
        share.append(float(mix[:, single_column].mean()) if single_column >= 0 else np.nan)
    if not quality:
        return None
    anchor = int(trial.priced_experts[costs[:, trial.priced_experts].mean(axis=0).argmin()])
    return _Points(
        weights=np.array([*weights, np.nan]),
        quality=np.stack([*quality, scores[:, anchor]]),
        cost=np.stack([*cost, costs[:, anchor]]),
        best_single_share=np.array([*share, float(anchor == single_column)]),
    )


def _mask(trial: Trial) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(trial.test.experts), dtype=np.bool_)
    mask[trial.priced_experts] = True
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Bootstrap samples: `means` of shape (policies, 7, resamples), the rest of shape (policies, resamples)."""

    means: Floats
    aiq: Floats
    apgr: Floats


def _bootstrap(
    trial: Trial,
    policies: Sequence[Policy],
    values: Sequence[_Values],
    points: Sequence[_Points | None],
    resamples: int,
    seed: int,
    progress: Callable[[float], None],
) -> _Samples:
    k = len(policies)
    means, areas, gained = (np.full(shape, np.nan) for shape in ((k, 7, resamples), (k, resamples), (k, resamples)))
    matrices = [
        np.stack([one.quality, one.cost, one.best, one.only_best, one.regret, one.gain, one.room]) for one in values
    ]
    done = 0
    for counts in resample_counts(trial.clusters, resamples, seed):
        here = slice(done, done + len(counts))
        priced = counts[:, trial.priced_rows]
        if trial.has_costs:
            single_costs = resampled_means(trial.priced.cost_usd[:, trial.priced_experts].T, priced)
        for i, policy in enumerate(policies):
            means[i, :, here] = resampled_means(matrices[i], counts)
            one = points[i]
            if one is not None:
                cost, quality = resampled_means(one.cost, priced), resampled_means(one.quality, priced)
                for b in range(len(counts)):
                    low, high = float(single_costs[:, b].min()), float(single_costs[:, b].max())
                    areas[i, done + b] = aiq(cost[:, b], quality[:, b], low, high)
            if policy.deferral_score is not None:
                for b in range(len(counts)):
                    drawn = np.repeat(np.arange(len(trial.test)), counts[b].astype(np.int64))
                    gained[i, done + b] = _deferral(trial, policy, drawn)[0]
        done += len(counts)
        progress(done / resamples)
    return _Samples(means, areas, gained)


def _deferral(trial: Trial, policy: Policy, rows: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """APGR, CPT(50 %) and CPT(80 %) on the given rows; NaN for a policy without a score."""
    from evals.baselines import best_single_column

    # Without a train split this only decides which of the two is called the strong one.
    strong = best_single_column(trial.train if len(trial.train) else trial.test)
    if policy.deferral_score is None or strong is None or len(trial.test.experts) != 2:
        return float("nan"), float("nan"), float("nan")
    good, bad = trial.test.scores[rows, strong], trial.test.scores[rows, 1 - strong]
    known = np.isfinite(good) & np.isfinite(bad)
    if not known.any():
        return float("nan"), float("nan"), float("nan")
    good, bad = good[known], bad[known]
    share, quality = deferral_curve(policy.deferral_score[rows][known], bad, good)
    weak_mean, strong_mean = float(bad.mean()), float(good.mean())
    return (
        apgr(share, quality, weak_mean, strong_mean),
        cpt(share, quality, weak_mean, strong_mean, 0.5),
        cpt(share, quality, weak_mean, strong_mean, 0.8),
    )


def _row(
    trial: Trial,
    policies: Sequence[Policy],
    values: Sequence[_Values],
    points: Sequence[_Points | None],
    samples: _Samples,
    i: int,
    zero: int | None,
) -> RouterRow:
    policy, own, plane = policies[i], values[i], points[i]
    around = [_interval(samples.means[i, stat]) for stat in range(7)]
    gain, room = mean_known(own.gain), mean_known(own.room)
    gap = gap_closed(np.array(gain), np.array(0.0), np.array(room))
    gaps = gap_closed(samples.means[i, 5], np.zeros(samples.means.shape[2]), samples.means[i, 6])
    area = _area(trial, plane)
    zero_area = _area(trial, points[zero]) if zero is not None else float("nan")
    over_zero = samples.aiq[i] - samples.aiq[zero] if zero is not None else np.full(samples.aiq.shape[1], np.nan)
    quality, cost = mean_known(own.quality), mean_known(own.cost)
    hull = not policy.chooses and plane is not None
    if hull and plane is not None:
        xs, ys = non_decreasing_hull(plane.cost.mean(axis=1), plane.quality.mean(axis=1))
        quality, cost = float(ys[-1]), float(xs[-1])
    single = next(k for k, other in enumerate(policies) if other.name == BEST_SINGLE)
    gained, half, most = _deferral(trial, policy, np.arange(len(trial.test)))
    times = policy.latency_ms
    categories = by_label(own.quality, trial.test.categories) if policy.chooses else {}
    return RouterRow(
        name=policy.name,
        kind=policy.kind,
        quality=_or_none(quality),
        quality_ci95=around[0],
        quality_macro=_or_none(mean_known(np.array(list(categories.values())))),
        quality_minus_best_single=_or_none(gain),
        quality_minus_best_single_ci95=around[5],
        cost_usd=_or_none(cost),
        cost_usd_ci95=around[1],
        regret=_or_none(mean_known(own.regret)),
        regret_ci95=around[4],
        selection_accuracy=_or_none(mean_known(own.best)),
        selection_accuracy_ci95=around[2],
        selection_accuracy_strict=_or_none(mean_known(own.only_best)),
        selection_accuracy_strict_ci95=around[3],
        gap_closed=_or_none(float(gap)),
        gap_closed_ci95=_interval(gaps),
        aiq=_or_none(area),
        aiq_ci95=_interval(samples.aiq[i]),
        aiq_minus_zero_router=_or_none(area - zero_area),
        aiq_minus_zero_router_ci95=_interval(over_zero),
        cost_share_at_95=_cost_share(plane, points[single], 0.95),
        cost_share_at_100=_cost_share(plane, points[single], 1.0),
        apgr=_or_none(gained),
        apgr_ci95=_interval(samples.apgr[i]),
        cpt50=_or_none(half),
        cpt80=_or_none(most),
        coverage=1.0 if hull else coverage(own.quality),
        curve=_curve(policy, plane, points[single]),
        quality_by_category={label: _or_none(value) for label, value in categories.items()},
        choice_shares=_shares(trial, policy),
        latency_p50_ms=float(np.quantile(times, 0.5)) if times is not None else None,
        latency_p99_ms=float(np.quantile(times, 0.99)) if times is not None else None,
        artifact_hash=policy.artifact_hash or None,
        notes=policy.notes,
    )


def _area(trial: Trial, plane: _Points | None) -> float:
    limits = cost_range(trial)
    if plane is None or limits is None:
        return float("nan")
    return aiq(plane.cost.mean(axis=1), plane.quality.mean(axis=1), *limits)


def _cost_share(plane: _Points | None, single: _Points | None, share: float) -> float | None:
    """Cost of `share` of the best single expert's quality, relative to its cost. The first point of `single` is it."""
    if plane is None or single is None:
        return None
    target = share * float(single.quality[0].mean())
    cost = cost_at_quality(plane.cost.mean(axis=1), plane.quality.mean(axis=1), target)
    return _or_none(cost / float(single.cost[0].mean()))


def _curve(policy: Policy, plane: _Points | None, single: _Points | None) -> tuple[CurvePoint, ...]:
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


def _shares(trial: Trial, policy: Policy) -> dict[str, float]:
    shares = policy.mix.mean(axis=0)
    return {name: float(share) for name, share in zip(trial.test.experts, shares, strict=True) if share > 0}


def _interval(samples: Floats) -> tuple[float, float] | None:
    low, high = interval(samples)
    return (low, high) if np.isfinite(low) else None


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
