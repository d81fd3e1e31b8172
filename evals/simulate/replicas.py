"""Gateway processes in the simulation, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pointsman.experts.pool import ExpertPool
from pointsman.experts.protocols import ExpertCall, ExpertReply
from pointsman.experts.spec import ExpertSpec
from pointsman.routers.selection.price_controller import PriceController, SpendingReport
from pointsman.routers.selection.prices import Spending
from pointsman.routers.types import Prices


class PriceSource(Protocol):
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


class ReplicaReports:
    """The latest report of every replica: what Redis holds for the gateway."""

    def __init__(self) -> None:
        self._reports: dict[str, SpendingReport] = {}

    def post(self, who: str, report: SpendingReport) -> dict[str, SpendingReport]:
        """Leave a report; gives those of the others."""
        self._reports[who] = report
        return {name: other for name, other in self._reports.items() if name != who}


class Replica:
    """One gateway process: the pool as it sees it, and its prices.

    Args:
        name: Unique among the replicas.
        specs: The experts.
        pricing: Where its prices come from.
        clock: The simulated clock, in seconds.
    """

    def __init__(
        self, name: str, specs: Sequence[ExpertSpec], pricing: PriceSource, clock: Callable[[], float]
    ) -> None:
        self.pool = ExpertPool([_Silent(spec) for spec in specs], clock)
        self.pricing = pricing
        self._name = name
        self._clock = clock

    def report_to(self, notices: ReplicaReports) -> Callable[[], None]:
        """Leave a report; gives what happens when those of the others are here."""
        controller = self.pricing
        if not isinstance(controller, PriceController):
            return lambda: None
        others = notices.post(self._name, controller.report())

        def heard() -> None:
            controller.heard(others, self._clock())

        return heard


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
