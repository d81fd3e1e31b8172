"""A request with its decision, as dispatch and record use it."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.gateway.access.caller import Caller
from pointsman.gateway.deciding.evidence_plan import EvidencePlan
from pointsman.gateway.deciding.null_experts import NullAnswers
from pointsman.gateway.wire.caching import ANYTHING, CacheControl, CacheStatus
from pointsman.gateway.wire.request import Inbound
from pointsman.routers.types import Decision


# Made for every request, and freezing costs a third of the making: not frozen.
@dataclass(slots=True, eq=False)
class RoutedRequest:
    """A decided request, before its dispatch.

    Attributes:
        inbound: The parsed request.
        caller: Who asks.
        decision: Who answers.
        hit: How the decision cache fared.
        received_s: When the request's last byte was in (monotonic).
        session: Key of the caller's session, None without one.
        asked: What the null experts have to say of it; None where they have no say.
        evidence: The experts to ask until an answer is accepted; None if the chosen expert alone answers.
        caching: What the caller allows to be kept.
        deadline_s: When the first byte of its answer is of no more use (monotonic); None without a deadline.
        counted: Whether the request counts against the limits already.
        operators: Where nobody may answer: the caps that hold it back and that the operator states, not the caller.
    """

    inbound: Inbound
    caller: Caller
    decision: Decision
    hit: CacheStatus
    received_s: float
    session: str | None = None
    asked: NullAnswers | None = None
    evidence: EvidencePlan | None = None
    caching: CacheControl = ANYTHING
    deadline_s: float | None = None
    counted: bool = False
    operators: frozenset[str] = frozenset()

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.caller.tenant
