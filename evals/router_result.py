"""What a metric is worked out from: one router or baseline on a trial, and those that it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.baselines import BEST_SINGLE, ORACLE, ZERO_ROUTER
from pointsman.evals.metrics.hull import aiq, non_decreasing_hull
from pointsman.evals.metrics.metric import BootstrapEstimate
from pointsman.evals.metrics.quality import mean_known
from pointsman.evals.policies import Policy, Trial
from pointsman.evals.resampling import Pair, Points, PolicyMeasurements, Samples, pair_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePolicies:
    """The trial, and those that a router is held against.

    Attributes:
        trial: The ground.
        samples: Bootstrap samples of all policies.
        single: The best single expert.
        zero: The zero router and its position; None where it does not take part.
        oracle_quality: Mean quality of the oracle; NaN without one.
        all_cost: Mean costs of the vertices of every policy's hull but the oracle's.
        all_quality: Mean qualities of the same.
    """

    trial: Trial
    samples: Samples
    single: PolicyMeasurements
    zero: tuple[int, PolicyMeasurements] | None
    oracle_quality: float
    all_cost: Floats
    all_quality: Floats

    @classmethod
    def of(cls, trial: Trial, measured: Sequence[PolicyMeasurements], samples: Samples) -> ReferencePolicies:
        """From everybody on the trial; `best_single` must be among them."""
        named = {one.policy.name: i for i, one in enumerate(measured)}
        # Nobody can reach the oracle: with it among them every front would be its curve.
        planes = [mean_hull(one.points) for one in measured if one.points is not None and one.policy.name != ORACLE]
        zero = named.get(ZERO_ROUTER)
        return cls(
            trial=trial,
            samples=samples,
            single=measured[named[BEST_SINGLE]],
            zero=None if zero is None else (zero, measured[zero]),
            oracle_quality=mean_known(measured[named[ORACLE]].value("quality")) if ORACLE in named else float("nan"),
            all_cost=np.concatenate([cost for cost, _ in planes]) if planes else np.empty(0),
            all_quality=np.concatenate([quality for _, quality in planes]) if planes else np.empty(0),
        )


@dataclass(frozen=True, slots=True, eq=False)
class RouterResult:
    """One router or baseline on a trial.

    Attributes:
        references: Those that it is held against.
        measured: Its values prompt by prompt, and its settings in the plane of cost and quality.
        position: Its position among the policies of the samples.
    """

    references: ReferencePolicies
    measured: PolicyMeasurements
    position: int

    @property
    def trial(self) -> Trial:
        """Prompts, scores and costs."""
        return self.references.trial

    @property
    def policy(self) -> Policy:
        """Its choices, curve, predictions and times."""
        return self.measured.policy

    @property
    def points(self) -> Points | None:
        """Its settings in the plane of cost and quality; None without costs."""
        return self.measured.points

    def mean(self, statistic: str) -> BootstrapEstimate:
        """Mean over the prompts that have a value.

        Args:
            statistic: One of `resampling.STATISTICS`, or the name of a metric that is defined prompt by prompt.
        """
        values = self.measured.value(statistic)
        return BootstrapEstimate(mean_known(values), self.references.samples.of(self.position, statistic))

    @property
    def is_hull_alone(self) -> bool:
        """Whether it picks nobody itself and is a hull of others, as the zero router."""
        return not self.policy.chooses and self.points is not None

    @property
    def quality(self) -> BootstrapEstimate:
        """Mean score of the picks; of a hull, the height of its best vertex."""
        found = self.mean("quality")
        if self.is_hull_alone and self.points is not None:
            return BootstrapEstimate(float(mean_hull(self.points)[1][-1]), found.samples)
        return found

    @property
    def cost_usd(self) -> BootstrapEstimate:
        """Mean cost of the picks in dollars; of a hull, that of its best vertex."""
        found = self.mean("cost")
        if self.is_hull_alone and self.points is not None:
            return BootstrapEstimate(float(mean_hull(self.points)[0][-1]), found.samples)
        return found

    @property
    def aiq(self) -> BootstrapEstimate:
        """Mean height of its hull over the cost range of the single experts; NaN without costs."""
        return BootstrapEstimate(mean_aiq(self.trial, self.measured.points), self.references.samples.aiq[self.position])

    @property
    def pair(self) -> Pair | None:
        """Prompts in rising order of its belief in the better of two experts; None for other pools."""
        pair = pair_of(self.trial, self.policy)
        return pair if pair is not None and pair.rows.size else None


def cost_range(trial: Trial) -> tuple[float, float] | None:
    """Mean cost of the cheapest and of the most expensive single expert, in dollars per prompt: the range of AIQ."""
    if not trial.has_costs:
        return None
    means = trial.priced.cost_usd[:, trial.priced_experts].mean(axis=0)
    return float(means.min()), float(means.max())


def mean_hull(points: Points) -> tuple[Floats, Floats]:
    """Costs and qualities of the vertices of the non-decreasing hull of the settings' means."""
    return non_decreasing_hull(points.cost.mean(axis=1), points.quality.mean(axis=1))


def mean_aiq(trial: Trial, points: Points | None) -> float:
    """AIQ of settings over the cost range of the single experts; NaN without costs."""
    limits = cost_range(trial)
    if points is None or limits is None:
        return float("nan")
    return aiq(points.cost.mean(axis=1), points.quality.mean(axis=1), *limits)
