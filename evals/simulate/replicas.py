"""Gateway processes in the simulation, and the counters they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from experts.pool import ExpertPool
from experts.protocols import ExpertCall, ExpertReply
from experts.spec import ExpertSpec
from routers.selection.price_keeper import PriceKeeper
from routers.selection.prices import Spending
from routers.types import Prices

Levels = tuple[float, float, float]


class Pricing(Protocol):
    """Where a replica's prices come from."""

    def prices(self, now_s: float) -> Prices:
        """The prices to decide with now."""

    def spent(self, spending: Spending) -> None:
        """Count what a request is foreseen to spend."""

    def settled(self, correction: Spending, decided_s: float) -> None:
        """Put an estimate right."""


class FixedPrices:
    """Prices found beforehand.

    Args:
        given: What they are.
    """

    def __init__(self, given: Prices) -> None:
        self._given = given

    def prices(self, now_s: float) -> Prices:
        """The same at all times."""
        return self._given

    def spent(self, spending: Spending) -> None:
        """Nothing changes."""

    def settled(self, correction: Spending, decided_s: float) -> None:
        """Nothing changes."""


class SharedCounters:
    """The running total of all replicas, and where the prices of each stand: what Redis holds for the gateway."""

    def __init__(self) -> None:
        self._total = Spending()
        self._levels: dict[int, Levels] = {}

    def add(self, who: int, spending: Spending, levels: Levels) -> tuple[Spending, Sequence[Levels]]:
        """Add to the total; gives the sum over all and everybody's levels."""
        self._total += spending
        self._levels[who] = levels
        return self._total, tuple(self._levels.values())


class Replica:
    """One gateway process: the pool as it sees it, and its prices.

    Args:
        specs: The experts.
        pricing: Where its prices come from.
        clock: The simulated clock, in seconds.
    """

    def __init__(self, specs: Sequence[ExpertSpec], pricing: Pricing, clock: Callable[[], float]) -> None:
        self.pool = ExpertPool([_Silent(spec) for spec in specs], clock)
        self.pricing = pricing

    def report_to(self, shared: SharedCounters) -> Callable[[], None]:
        """Add to the shared counters; gives what happens when the answer is back."""
        keeper = self.pricing
        if not isinstance(keeper, PriceKeeper):
            return lambda: None
        report = keeper.unreported()
        total, levels = shared.add(id(self), report, keeper.state.levels)
        return lambda: keeper.heard(total, report, levels)


class _Silent:
    """An expert as the pool knows it; its answers come from `Machines`, never from here."""

    def __init__(self, spec: ExpertSpec) -> None:
        self.spec = spec

    async def start(self) -> None:
        """Nothing to prepare."""

    async def call(self, call: ExpertCall) -> ExpertReply:
        """Not the way of a simulated call."""
        raise NotImplementedError(f"{self.spec.name} is simulated: {call.request_id}")

    async def probe(self) -> str | None:
        """Well; the simulation tells sickness by calls alone."""
        return None

    async def aclose(self) -> None:
        """Nothing to let go of."""
