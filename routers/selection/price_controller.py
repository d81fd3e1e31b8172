"""One average budget in one replica: its prices, its spending, and the spending reported by other replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pointsman.routers.selection.prices import (
    AverageBudget,
    Gains,
    Levels,
    PriceState,
    Spending,
    averages,
    in_step,
    prices,
    updated,
)
from pointsman.routers.types import Prices

#: How often prices move, as a share of the window. Spendings in between are put together: a price need not move with
#: every request, but often enough that no step is a leap.
_STEP = 1 / 6000

#: How long after its decision an estimate is put right, as a share of the window.
_SETTLED_AFTER = 1 / 20

#: How long after its last report another replica counts as lost, as a share of the window.
_LOST_AFTER = 1 / 20

#: Requests decided within so many seconds are put right together.
_COHORT_S = 1.0

_NOTHING = Spending()


@dataclass(frozen=True, slots=True)
class SpendingReport:
    """What a replica tells the others: the latest replaces all before, so reports may get lost or come twice.

    Attributes:
        total: All it has spent since it started.
        levels: Where its prices stand.
    """

    total: Spending
    levels: Levels


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was last heard of another replica, and when."""

    report: SpendingReport
    at_s: float


class PriceController:
    """Computes the prices of one budget. It has no clock: every call that depends on time takes it.

    Replicas report to each other what they have spent in all; each moves its prices by the sum. A replica that
    receives no reports uses its own traffic alone. What was spent without reports is not made up for later: each
    replica held the average on its own in that time.

    Args:
        budget: What is allowed.
        now_s: Present time, in seconds of any monotonic clock.
        gains: How prices move.
    """

    def __init__(self, budget: AverageBudget, now_s: float, gains: Gains | None = None) -> None:
        self.budget = budget
        self._gains = gains or Gains()
        self._state = PriceState()
        self._updated_s = now_s
        self._pending = _NOTHING
        self._total = _NOTHING
        self._peers: dict[str, _Heard] = {}
        self._unsettled: dict[int, Spending] = {}
        self._prices = Prices()

    @property
    def state(self) -> PriceState:
        """Levels and sliding window."""
        return self._state

    @property
    def averages(self) -> tuple[float, float, float]:
        """Mean cost, mean energy and share of late answers of the sliding window, of all replicas heard of."""
        return averages(self._state, self.budget)

    def spent(self, spending: Spending) -> None:
        """Count what a request of this replica is foreseen to spend, or what became known of it at once."""
        self._pending += spending
        self._total += spending

    def settled(self, correction: Spending, decided_s: float) -> None:
        """Put an estimate right.

        Corrections wait until all of their cohort are likely to be known. Short answers end first: taken as they come,
        the corrections of a rush would say at first that everything is cheap, and only later that it was not.

        Args:
            correction: What was spent, less what was foreseen.
            decided_s: When it was decided, by the clock that `prices` is told.
        """
        cohort = int(decided_s / _COHORT_S)
        self._unsettled[cohort] = self._unsettled.get(cohort, _NOTHING) + correction

    def prices(self, now_s: float) -> Prices:
        """The prices to decide with now."""
        elapsed_s = now_s - self._updated_s
        if elapsed_s >= self.budget.window_s * _STEP:
            self._settle(now_s)
            self._state = updated(self._state, self.budget, self._pending, elapsed_s, self._gains)
            self._pending = _NOTHING
            self._updated_s = now_s
            self._prices = prices(self._state, self.budget, self._gains)
        return self._prices

    def report(self) -> SpendingReport:
        """What the others should know."""
        return SpendingReport(self._total, self._state.levels)

    def heard(self, peers: Mapping[str, SpendingReport], now_s: float) -> frozenset[str]:
        """Take in what the other replicas report.

        Args:
            peers: The latest report of every other replica, by a name of its own.
            now_s: Present time.

        Returns:
            Those without a new report for a whole window: they are gone.
        """
        lost_s = self.budget.window_s * _LOST_AFTER
        for name, report in peers.items():
            known = self._peers.get(name)
            if known is not None and known.report == report:
                continue
            if known is not None and now_s - known.at_s <= lost_s:
                self._pending += report.total - known.report.total
            self._peers[name] = _Heard(report, now_s)
        # Who has had no traffic yet has no prices to speak of, and takes over those of the others.
        near = [
            heard.report.levels
            for heard in self._peers.values()
            if now_s - heard.at_s <= lost_s and heard.report.total != _NOTHING
        ]
        if near:
            self._state = in_step(self._state, near if self._total == _NOTHING else [*near, self._state.levels])
        gone = frozenset(name for name, heard in self._peers.items() if now_s - heard.at_s > self.budget.window_s)
        for name in gone:
            del self._peers[name]
        return gone

    def _settle(self, now_s: float) -> None:
        due = int((now_s - self.budget.window_s * _SETTLED_AFTER) / _COHORT_S)
        for cohort in [cohort for cohort in self._unsettled if cohort < due]:
            self.spent(self._unsettled.pop(cohort))
