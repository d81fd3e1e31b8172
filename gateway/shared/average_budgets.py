"""Average budgets at run time: prices for decisions, and an account of the spending of all replicas."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final

import orjson

from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.telemetry import Telemetry
from pointsman.routers.outcomes import Outcome
from pointsman.routers.selection.price_controller import PriceController, SpendingReport
from pointsman.routers.selection.prices import AverageBudget, Spending, correction
from pointsman.routers.types import Budget, Decision

_EVERY_S: Final = 1.0
_RESOURCES: Final = ("cost_usd", "energy_j", "late_share")


@dataclass(frozen=True, slots=True)
class ExpectedSpend:
    """What a call that is under way was foreseen to spend.

    Attributes:
        foreseen: When it was dispatched.
        decided_s: When that was (monotonic).
        stream: Whether the time to its first token counts.
    """

    foreseen: Spending
    decided_s: float
    stream: bool


class AverageBudgets:
    """Holds one budget over everything this gateway decides. A caller who names a model decides alone and is left out.

    Args:
        budget: What is allowed.
        replica: A name no other process has.
        store: Where replicas tell each other; None to go by this process's traffic alone.
        telemetry: Told prices and averages.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        budget: AverageBudget,
        *,
        replica: str,
        store: SharedStore | None,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._controller = PriceController(budget, clock())
        self._budget = budget
        self._replica = replica
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        # Replicas that are set up differently hold different budgets, and do not mix.
        self._key = "average-budget:" + hashlib.blake2b(repr(budget).encode(), digest_size=8).hexdigest()
        self._gone: frozenset[str] = frozenset()

    def priced(self, budget: Budget) -> Budget:
        """The caller's budget with the present prices."""
        return replace(budget, prices=self._controller.prices(self._clock()))

    def dispatched(self, decision: Decision, expert: str, *, stream: bool) -> ExpectedSpend:
        """A call goes out: count what it is expected to spend."""
        expected_spend = ExpectedSpend(Spending.of(*decision.explanation.spends(expert)), self._clock(), stream)
        self._controller.spent(expected_spend.foreseen)
        return expected_spend

    def given_up(self, expected_spend: ExpectedSpend) -> None:
        """The call failed and another expert is tried: it is not counted."""
        self._controller.spent(Spending() - expected_spend.foreseen)

    def first_token(self, expected_spend: ExpectedSpend, ttft_ms: float) -> None:
        """The answer begins. Only streams tell when: what comes whole comes at its end."""
        if expected_spend.stream:
            self._controller.spent(Spending.first_token(ttft_ms, self._budget))

    def finished(self, expected_spend: ExpectedSpend, outcome: Outcome, *, worked: bool) -> None:
        """The call is over: what it spent takes the place of what was foreseen, as far as it is known.

        Args:
            expected_spend: From `dispatched`.
            outcome: What became of it.
            worked: Whether the expert may have worked on it; what nobody waited for is spent all the same.
        """
        if not worked:
            self.given_up(expected_spend)
        else:
            known = correction(expected_spend.foreseen, outcome.cost_usd, outcome.energy_j)
            self._controller.settled(known, expected_spend.decided_s)

    def one_request(self, expected_spends: Sequence[ExpectedSpend], ttft_ms: float | None) -> None:
        """Several calls were for one request: it spent what all of them did, and counts once.

        Args:
            expected_spends: Of the calls that are counted, which each counted as a request so far.
            ttft_ms: From the request to the first token; None where nothing was streamed.
        """
        more = Spending()
        for expected_spend in expected_spends:
            more += replace(expected_spend.foreseen, cost_usd=0.0, energy_j=0.0)
        once = Spending(priced=min(1.0, more.priced), metered=min(1.0, more.metered))
        began = Spending() if ttft_ms is None else Spending.first_token(ttft_ms, self._budget)
        self._controller.spent(once - more + began)

    async def run(self) -> None:
        """Tell the other replicas and hear of them, once a second, until cancelled. No request waits for it."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self._exchange()
            self._show()

    async def _exchange(self) -> None:
        if self._store is None:
            return
        mine = self._controller.report()
        value = orjson.dumps({"total": astuple(mine.total), "levels": mine.levels})
        found = await self._store.post(self._key, self._replica, value, self._ttl_s, forget=self._gone)
        if found is not None:
            self._gone = self._controller.heard(_reports(found, self._replica), self._clock())

    @property
    def _ttl_s(self) -> int:
        return int(2 * self._budget.window_s) + 1

    def _show(self) -> None:
        prices = self._controller.prices(self._clock())
        bounds = (self._budget.max_cost_usd, self._budget.max_energy_j, self._budget.p95_ttft_ms)
        for resource, bound, price, allowed, average in zip(
            _RESOURCES,
            bounds,
            (prices.per_usd, prices.per_j, prices.per_ttft_ms),
            self._budget.limits,
            self._controller.averages,
            strict=True,
        ):
            if bound is not None and allowed is not None:
                self._telemetry.budget(resource, allowed=allowed, average=average, price=price * bound)


def _reports(found: Mapping[bytes, bytes], own: str) -> dict[str, SpendingReport]:
    """The other replicas' reports; what is not one of ours is left out."""
    reports = {}
    for name, value in found.items():
        try:
            data = orjson.loads(value)
            first, second, third = (float(level) for level in data["levels"])
            report = SpendingReport(Spending(*(float(amount) for amount in data["total"])), (first, second, third))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
        if name.decode("utf-8", "replace") != own:
            reports[name.decode("utf-8", "replace")] = report
    return reports
