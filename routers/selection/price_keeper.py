"""What one replica knows of an average budget: its prices, what it spent, and what it has heard of the others."""

from __future__ import annotations

from collections.abc import Sequence

from routers.selection.prices import AverageBudget, Gains, PriceState, Spending, averages, in_step, prices, updated
from routers.types import Prices

#: How often prices move. Spendings in between are put together: a price need not move with every request.
STEP_S = 0.1

#: How long after its decision an estimate is put right, as a share of the window.
_SETTLED_AFTER = 1 / 20

#: Requests decided within so many seconds are put right together.
_COHORT_S = 1.0

_NOTHING = Spending()


class PriceKeeper:
    """Keeps the prices of one budget. Holds no clock: every call that depends on time takes it.

    Replicas share one running total: each adds what it spent since it last did (`unreported`), and reads back the sum
    over all (`heard`). Totals only ever grow by what is added, so nothing has to be merged, a report may come late,
    and a replica that hears nothing goes on with its own traffic.

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
        self._unreported = _NOTHING
        self._unsettled: dict[int, Spending] = {}
        self._total: Spending | None = None
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
        self._unreported += spending

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
        if elapsed_s >= STEP_S:
            self._settle(now_s)
            self._state = updated(self._state, self.budget, self._pending, elapsed_s, self._gains)
            self._pending = _NOTHING
            self._updated_s = now_s
            self._prices = prices(self._state, self.budget, self._gains)
        return self._prices

    def unreported(self) -> Spending:
        """What to add to the shared total; counts as reported from here on."""
        report, self._unreported = self._unreported, _NOTHING
        return report

    def not_reported(self, report: Spending) -> None:
        """The report did not get through: it goes with the next."""
        self._unreported += report

    def heard(self, total: Spending, report: Spending, levels: Sequence[tuple[float, float, float]]) -> None:
        """Take in the shared total.

        Args:
            total: The sum over all replicas, `report` included.
            report: What this replica added to it just now.
            levels: Of the prices of all replicas that were heard of lately, this one included.
        """
        if self._total is not None:
            self._pending += total - self._total - report
        self._total = total
        self._state = in_step(self._state, levels)

    def forgotten(self) -> None:
        """The shared total started anew (its memory was lost): the next one heard is where counting begins."""
        self._total = None

    def _settle(self, now_s: float) -> None:
        due = int((now_s - self.budget.window_s * _SETTLED_AFTER) / _COHORT_S)
        for cohort in [cohort for cohort in self._unsettled if cohort < due]:
            self.spent(self._unsettled.pop(cohort))
