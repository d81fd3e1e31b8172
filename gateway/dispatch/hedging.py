"""Delayed hedging: if the first expert takes longer than predicted, a second one is asked. The faster one answers.

After Dean and Barroso, "The Tail at Scale" (2013): the second call waits for the predicted 95th percentile, which
keeps the extra load at a few per cent. An allowance keeps it there when the prediction is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pointsman.gateway.dispatch.retry_budget import RetryBudget
from pointsman.routers.types import Decision


class Hedge(StrEnum):
    """How the second call fared. The values appear in metrics."""

    WON = "won"
    LOST = "lost"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When to ask a second expert.

    Attributes:
        after: Multiple of the predicted p95.
        least_s: What the first one has in any case, and all it has where nothing is predicted of it.
    """

    after: float = 1.0
    least_s: float = 0.05


class Hedging:
    """Says when a second expert may be asked, and counts how it fared. One per process.

    Args:
        policy: The operator's.
        allowance: Of second calls.
        on_hedge: Told how each second call fared.
    """

    def __init__(self, policy: HedgePolicy, allowance: RetryBudget, on_hedge: Callable[[str], None]) -> None:
        self._policy = policy
        self._allowance = allowance
        self._on_hedge = on_hedge

    def delay_s(self, decision: Decision, name: str, *, stream: bool) -> float:
        """How long the first expert has before the second is asked; the request counts towards the allowance."""
        self._allowance.request()
        of = next((one.estimates for one in decision.candidates if one.spec.name == name), None)
        p95_ms = None if of is None else of.ttft_ms_worst if stream else of.latency_ms_worst
        return max(self._policy.least_s, self._policy.after * (p95_ms or 0.0) / 1e3)

    def allow(self) -> bool:
        """The first expert is late: whether the second may be asked. Takes it from the allowance."""
        if self._allowance.spent:
            self._on_hedge(Hedge.NOT_ALLOWED.value)
            return False
        self._allowance.take()
        return True

    def settled(self, *, won: bool) -> None:
        """Two experts raced, and one of them answered or both failed.

        Args:
            won: The second one answers.
        """
        self._on_hedge((Hedge.WON if won else Hedge.LOST).value)
