"""What the report's intervals and differences rest on: every policy's per-prompt values under one paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import BEST_SINGLE, best_single_column
from pointsman.evals.metrics.bootstrap import resample_counts, resampled_means
from pointsman.evals.metrics.deferral import apgr, deferral_curve
from pointsman.evals.metrics.hull import aiq, non_decreasing_hull
from pointsman.evals.metrics.metric import PerPromptFunction
from pointsman.evals.metrics.selection import best_scores, picked_values
from pointsman.evals.policies import Kind, Policy, Trial

Floats = npt.NDArray[np.float64]

#: Per-prompt values of every policy; those of the metrics that are defined prompt by prompt follow. `gain` is quality
#: over best single, `room` the oracle's quality over best single, both where all of it is scored.
STATISTICS = ("quality", "cost", "gain", "room")

#: Where the band around a deferral curve is drawn, as shares of the best single expert's cost.
BAND_SHARES = np.concatenate([[0.005, 0.01, 0.02, 0.03], np.arange(0.05, 1.0001, 0.05)])


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """A policy in the cost-quality plane: per-prompt quality and cost of each of its settings, shape (k, priced n).

    The last setting is always asking the cheapest single expert, which every router can do.
    """

    weights: Floats
    quality: Floats
    cost: Floats
    best_single_share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PolicyMeasurements:
    """A policy on a trial.

    Attributes:
        policy: Which.
        statistics: Names of the rows of `values`.
        values: Shape (statistics, n), NaN where a prompt says nothing.
        points: In the cost-quality plane; None without costs.
    """

    policy: Policy
    statistics: tuple[str, ...]
    values: Floats
    points: Points | None

    def value(self, statistic: str) -> Floats:
        """The per-prompt values of one statistic, shape (n,)."""
        return np.asarray(self.values[self.statistics.index(statistic)])


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Bootstrap samples, the same resamples for all policies.

    Attributes:
        statistics: Names of what `means` holds of each policy.
        means: Shape (policies, statistics, resamples).
        aiq: Shape (policies, resamples).
        apgr: Shape (policies, resamples).
        differences: Mean paired difference in quality of each of `pairs`, shape (pairs, resamples).
        pairs: Positions of the two policies of each difference.
        bands: Position of a router with a curve -> its quality relative to the best single expert's at `BAND_SHARES`
            of that expert's cost, shape (shares, resamples); NaN where it has no setting that cheap.
    """

    statistics: tuple[str, ...]
    means: Floats
    aiq: Floats
    apgr: Floats
    differences: Floats
    pairs: tuple[tuple[int, int], ...]
    bands: Mapping[int, Floats]

    def of(self, policy: int, statistic: str) -> Floats:
        """Samples of one mean, shape (resamples,)."""
        return np.asarray(self.means[policy, self.statistics.index(statistic)])


def measure(
    trial: Trial, policies: Sequence[Policy], per_prompt: Mapping[str, PerPromptFunction]
) -> list[PolicyMeasurements]:
    """Per-prompt values and operating points of every policy.

    Args:
        trial: The ground.
        policies: With `best_single` among them.
        per_prompt: What else is worked out prompt by prompt, by name.

    Raises:
        ValueError: A name is one of `STATISTICS`.
    """
    if taken := sorted(set(per_prompt) & set(STATISTICS)):
        raise ValueError(f"{', '.join(taken)}: the harness works out something of this name itself")
    single = next(policy for policy in policies if policy.name == BEST_SINGLE)
    single_quality = picked_values(trial.test.scores, single.mix)
    statistics = (*STATISTICS, *per_prompt)
    measured = []
    for one in policies:
        own = [function(trial.test, one.mix) for function in per_prompt.values()]
        values = np.stack([*_values(trial, one, single_quality), *own])
        measured.append(PolicyMeasurements(one, statistics, values, _points(trial, one, single)))
    return measured


def bootstrap(
    trial: Trial,
    measured: Sequence[PolicyMeasurements],
    pairs: Sequence[tuple[int, int]],
    resamples: int,
    seed: int,
    progress: Callable[[float], None],
) -> Samples:
    """Resample the prompts, near-duplicates together.

    Args:
        trial: The ground.
        measured: The policies.
        pairs: Positions of policies whose paired difference in quality is wanted.
        resamples: How many; 0 for none.
        seed: Of the draw.
        progress: Told the share that is done.
    """
    k, statistics = len(measured), measured[0].statistics
    means = np.full((k, len(statistics), resamples), np.nan)
    areas, gained = np.full((k, resamples), np.nan), np.full((k, resamples), np.nan)
    differences = np.full((len(pairs), resamples), np.nan)
    apart = np.array([measured[i].value("quality") - measured[j].value("quality") for i, j in pairs])
    ranked = [pair_of(trial, one.policy) for one in measured]
    bands = {i: np.full((len(BAND_SHARES), resamples), np.nan) for i in _with_bands(trial, measured)}
    single = next(one.points for one in measured if one.policy.name == BEST_SINGLE)
    done = 0
    for counts in resample_counts(trial.clusters, resamples, seed):
        here = slice(done, done + len(counts))
        priced = counts[:, trial.priced_rows]
        if trial.has_costs:
            single_costs = resampled_means(trial.priced.cost_usd[:, trial.priced_experts].T, priced)
        if len(pairs):
            differences[:, here] = resampled_means(apart, counts)
        for i, one in enumerate(measured):
            means[i, :, here] = resampled_means(one.values, counts)
            if one.points is not None:
                cost, quality = (resampled_means(side, priced) for side in (one.points.cost, one.points.quality))
                for b in range(len(counts)):
                    low, high = float(single_costs[:, b].min()), float(single_costs[:, b].max())
                    areas[i, done + b] = aiq(cost[:, b], quality[:, b], low, high)
                if i in bands and single is not None:
                    base_cost, base_quality = (
                        resampled_means(side[:1], priced)[0] for side in (single.cost, single.quality)
                    )
                    for b in range(len(counts)):
                        xs, ys = non_decreasing_hull(cost[:, b], quality[:, b])
                        at = np.interp(BAND_SHARES * base_cost[b], xs, ys, left=np.nan)
                        bands[i][:, done + b] = at / base_quality[b]
            pair = ranked[i]
            if pair is not None:
                for b in range(len(counts)):
                    gained[i, done + b] = pair.drawn(counts[b]).apgr
        done += len(counts)
        progress(done / resamples)
    return Samples(statistics, means, areas, gained, differences, tuple(pairs), bands)


def _with_bands(trial: Trial, measured: Sequence[PolicyMeasurements]) -> list[int]:
    """Positions of the routers whose deferral curve can be drawn."""
    curves = [i for i, one in enumerate(measured) if one.policy.kind is Kind.ROUTER and one.policy.curve is not None]
    return curves if trial.has_costs else []


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Prompts of a pool of two with a belief in the better expert, in rising order of belief; each of shape (n,)."""

    rows: npt.NDArray[np.int64]
    score: Floats
    weak: Floats
    strong: Floats

    @property
    def curve(self) -> tuple[Floats, Floats]:
        """Share of strong calls and mean quality (RouteLLM)."""
        return deferral_curve(self.score, self.weak, self.strong)

    @property
    def apgr(self) -> float:
        """RouteLLM's APGR; NaN without prompts, or where the better expert is not better."""
        if not self.rows.size:
            return float("nan")
        return apgr(*self.curve, float(self.weak.mean()), float(self.strong.mean()))

    def drawn(self, counts: Floats) -> Pair:
        """The pair on a resample; repeating ranked prompts keeps them ranked."""
        again = np.repeat(np.arange(self.rows.size), counts[self.rows].astype(np.int64))
        return Pair(self.rows[again], self.score[again], self.weak[again], self.strong[again])


def pair_of(trial: Trial, policy: Policy) -> Pair | None:
    """The two-expert view of a policy; None for other pools, and for a policy without a belief."""
    # Without a train split this only decides which of the two is called the strong one.
    strong = best_single_column(trial.train if len(trial.train) else trial.test)
    if policy.deferral_score is None or strong is None or len(trial.test.experts) != 2:
        return None
    good, bad = trial.test.scores[:, strong], trial.test.scores[:, 1 - strong]
    rows = np.flatnonzero(np.isfinite(good) & np.isfinite(bad) & np.isfinite(policy.deferral_score))
    rows = rows[np.argsort(policy.deferral_score[rows], kind="stable")]
    return Pair(rows, policy.deferral_score[rows], bad[rows], good[rows])


def _values(trial: Trial, policy: Policy, single_quality: Floats) -> list[Floats]:
    """One array of shape (n,) for each of `STATISTICS`."""
    scores = trial.test.scores
    quality = picked_values(scores, policy.mix)
    cost = picked_values(trial.test.cost_usd, policy.mix)
    gain = quality - single_quality
    # A pick that is scored but has no known cost makes the mean cost unknown, not cheap.
    chosen = policy.mix > 0
    if (chosen & trial.test.scored & ~np.isfinite(trial.test.cost_usd)).any():
        cost = np.full(len(scores), np.nan)
    rows = {
        "quality": quality,
        "cost": cost,
        "gain": gain,
        "room": np.where(np.isfinite(gain), best_scores(scores) - single_quality, np.nan),
    }
    return [rows[name] for name in STATISTICS]


def _points(trial: Trial, policy: Policy, single: Policy) -> Points | None:
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
    return Points(
        weights=np.array([*weights, np.nan]),
        quality=np.stack([*quality, scores[:, anchor]]),
        cost=np.stack([*cost, costs[:, anchor]]),
        best_single_share=np.array([*share, float(anchor == single_column)]),
    )


def _mask(trial: Trial) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(trial.test.experts), dtype=np.bool_)
    mask[trial.priced_experts] = True
    return mask
