"""Whether several experts get a request: which ones, at what price, and what is left of its caps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pointsman.experts.spec import Capability
from pointsman.gateway.errors import invalid_budget
from pointsman.gateway.settings.evidence import EvidenceSettings
from pointsman.gateway.wire.evidence import EvidenceOptions
from pointsman.gateway.wire.request import Inbound
from pointsman.routers.arrays import Floats
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.evidence.step import AskStep, next_step
from pointsman.routers.types import Budget, Candidate, Decision, Estimates, Reason

_TEXT: Final = frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.STREAMING})


@dataclass(frozen=True, slots=True, eq=False)
class EvidencePlan:
    """The experts that one request may ask, and their prices.

    Attributes:
        members: The policy's members as candidates of the decision; None for one that may not be asked.
        quality: Predicted, shape (k,).
        prices: Of one call in units of quality, inf for one that may not be asked, shape (k,).
        waiting: The part of the prices that pays for time, shape (k,).
        budget: Caps on all calls together.
        max_calls: At most so many.
    """

    members: tuple[Candidate | None, ...]
    quality: Floats
    prices: Floats
    waiting: Floats
    budget: Budget
    max_calls: int


@dataclass(slots=True)
class RemainingCaps:
    """What is left of the caps. Every further call is held against its worst case, all calls of a batch together."""

    plan: EvidencePlan
    cost_usd: float = 0.0
    energy_j: float = 0.0
    asked: set[int] = field(default_factory=set)

    def prices(self, elapsed_ms: float) -> Floats:
        """The plan's prices, inf for an expert that may not be asked now."""
        prices = self.plan.prices.copy()
        for member in range(len(prices)):
            if not self._fits((member,), elapsed_ms):
                prices[member] = np.inf
        return prices

    def affordable(self, batch: tuple[int, ...], elapsed_ms: float) -> tuple[int, ...]:
        """The first of a batch, and of the others as many as the caps still allow beside it."""
        chosen: tuple[int, ...] = batch[:1]
        for member in batch[1:]:
            if self._fits((*chosen, member), elapsed_ms):
                chosen = (*chosen, member)
        return chosen

    def spend(self, member: int, cost_usd: float | None, energy_j: float | None) -> None:
        """A call is over: what it took, or its worst case where that is not known."""
        self.asked.add(member)
        worst = self._estimates(member)
        self.cost_usd += (worst.cost_usd_worst or 0.0) if cost_usd is None else cost_usd
        self.energy_j += (worst.energy_j_worst or 0.0) if energy_j is None else energy_j

    def _fits(self, batch: tuple[int, ...], elapsed_ms: float) -> bool:
        if any(member in self.asked or self.plan.members[member] is None for member in batch):
            return False
        if len(self.asked) + len(batch) > self.plan.max_calls:
            return False
        caps, worst = self.plan.budget, [self._estimates(member) for member in batch]
        # Nothing is streamed before an answer is accepted: the first token is there when the last call is over.
        times = [cap for cap in (caps.max_ttft_ms, caps.max_latency_ms) if cap is not None]
        slowest = [one.latency_ms_worst for one in worst]
        return (
            _within(min(times, default=None), elapsed_ms, slowest, max)
            and _within(caps.max_cost_usd, self.cost_usd, [one.cost_usd_worst for one in worst], sum)
            and _within(caps.max_energy_j, self.energy_j, [one.energy_j_worst for one in worst], sum)
        )

    def _estimates(self, member: int) -> Estimates:
        candidate = self.plan.members[member]
        assert candidate is not None  # noqa: S101  # looked at before
        return candidate.estimates


class EvidencePlanner:
    """Plans which experts to ask.

    Args:
        policy: Of the router's artefact; None where it was not trained on answers.
        settings: The operator's.
    """

    def __init__(self, policy: SequentialPolicy | None, settings: EvidenceSettings) -> None:
        self._policy = policy
        self._settings = settings

    def plan(
        self, inbound: Inbound, budget: Budget, decision: Decision, evidence_options: EvidenceOptions | None
    ) -> EvidencePlan | None:
        """Which experts to ask; None if the chosen expert alone is to answer.

        That is so when nobody wants more, when the request is for more than one text, when the expert was chosen for
        another reason than its utility, when fewer than two members may be asked, and when gathering promises no more
        than the chosen expert.

        Raises:
            RequestRefused: The caller asks for it, and the router was not trained on answers.
        """
        if not (self._settings.enabled if evidence_options is None else evidence_options.wanted):
            return None
        policy = self._policy
        if policy is None:
            if evidence_options is None:
                return None
            raise invalid_budget("routing.evidence", "this gateway's router was not trained on answers")
        weight = budget.weights.quality
        several = inbound.work.answers > 1
        if decision.reason is not Reason.BEST_UTILITY or several or not inbound.required <= _TEXT or weight <= 0:
            return None
        members = tuple(_best_of(decision.candidates, name) for name in policy.members)
        if sum(member is not None for member in members) < 2:
            return None
        plan = EvidencePlan(
            members,
            np.array([0.0 if one is None else one.estimates.quality.mean for one in members]),
            np.array([np.inf if one is None else _price(one) / weight for one in members]),
            np.array([0.0 if one is None else -one.terms.get("latency", 0.0) / weight for one in members]),
            budget,
            self._max_calls(evidence_options),
        )
        step = next_step(policy, plan.quality, {}, RemainingCaps(plan).prices(0.0), plan.waiting)
        chosen = next(one for one in decision.candidates if one.spec.name == decision.expert)
        worth = (chosen.utility or 0.0) / weight
        # A chosen member alone is one of the policy's own ways; another expert has to be outbid.
        outbid = chosen in members or (isinstance(step, AskStep) and step.value > worth)
        return plan if isinstance(step, AskStep) and outbid else None

    def _max_calls(self, evidence_options: EvidenceOptions | None) -> int:
        most = self._settings.max_calls
        return (
            most
            if evidence_options is None or evidence_options.max_calls is None
            else min(most, evidence_options.max_calls)
        )


def _best_of(candidates: Sequence[Candidate], artifact_name: str) -> Candidate | None:
    """The admissible candidate of a member; of several experts that are the same model, the one of most utility."""
    found = [one for one in candidates if one.utility is not None and one.spec.artifact_name == artifact_name]
    return max(found, key=lambda one: one.utility or 0.0, default=None)


def _price(candidate: Candidate) -> float:
    """What a call costs in units of utility: the very terms by which the expert was ranked."""
    return -sum(term for name, term in candidate.terms.items() if name != "quality")


def _within(
    cap: float | None, spent: float, worst: list[float | None], together: Callable[[list[float]], float]
) -> bool:
    """Whether the worst case keeps to a cap; what is not known does not."""
    if cap is None:
        return True
    known = [one for one in worst if one is not None]
    return len(known) == len(worst) and spent + together(known) <= cap
