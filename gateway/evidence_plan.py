"""Whom one request may ask, at what price, and what is left of its caps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from routers.arrays import Floats
from routers.types import Budget, Candidate, Estimates


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Whom one request may ask, and at what price.

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
class Purse:
    """What is left of the caps. Every further call is held against its worst case, all calls of a batch together."""

    plan: Plan
    cost_usd: float = 0.0
    energy_j: float = 0.0
    asked: set[int] = field(default_factory=set)

    def prices(self, elapsed_ms: float) -> Floats:
        """The plan's prices, inf for whoever may not be asked now."""
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


def _within(
    cap: float | None, spent: float, worst: list[float | None], together: Callable[[list[float]], float]
) -> bool:
    """Whether the worst case keeps to a cap; what is not known does not."""
    if cap is None:
        return True
    known = [one for one in worst if one is not None]
    return len(known) == len(worst) and spent + together(known) <= cap
