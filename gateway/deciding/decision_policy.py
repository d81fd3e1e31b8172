"""What the operator set for every decision."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.routers.budget import CAPS
from pointsman.routers.selection.flags import FlagPositions
from pointsman.routers.types import Budget


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """What the operator set for every decision.

    Attributes:
        budget: Of callers who state none.
        flags: Where in a turn goals may be written into the prompt.
        stay_bonus: What staying with a session's last expert is worth; None where conversations are not looked at.
        derive_sessions: Whether a conversation that is not named is known by how it began.
        keeps_turns: Whether a thread may be held here, where its expert cannot.
    """

    budget: Budget
    flags: FlagPositions
    stay_bonus: float | None = None
    derive_sessions: bool = False
    keeps_turns: bool = True

    def caps_of(self, budget: Budget) -> frozenset[str]:
        """The caps of a request's budget that are the operator's: its caller has stated no others."""
        stated = [cap.name for cap in CAPS if getattr(budget, cap.name) is not None]
        own = [name for name in stated if getattr(budget, name) == getattr(self.budget, name)]
        return frozenset([*own, "local_only"] if self.budget.local_only else own)
