"""Shadow calls: which expert to ask beside the one that answered, within what budget, and what its answer teaches.

An expert that is never asked is never judged. After a request has been answered, the same prompt may also go to the
admissible expert that least is known of; its answer is compared with the one that was given and thrown away.

Agreement is a proxy for quality, not a judgement. If the answer given is right with probability q_a, the shadow's with
q_e, errors are independent and wrong answers never coincide, then

    P(shadow right | agree) = 1,    P(shadow right | differ) = (1 - q_a) q_e / (1 - q_a q_e),

whose mean is q_e: an expert that agrees as often as its prediction implies stays where it is. Experts of one family do
coincide in wrong answers, so the proxy counts a tenth of a judgement.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pointsman.experts.spec import PoolView
from pointsman.routers.estimators.online import Corrections
from pointsman.routers.types import Candidate, Decision

#: Judgements that one comparison is worth.
SHADOW_WEIGHT = 0.1

#: Of an expert's places, the share that may be busy with a shadow call among them.
IDLE_SHARE = 0.25

_HOUR_S = 3600.0
#: Uncertainty of a figure in [0, 1] of which nothing is known.
_UNKNOWN_STD = 0.5


@dataclass(frozen=True, slots=True)
class ExplorationBudget:
    """What shadow calls may take.

    Attributes:
        share: Shadow calls per routed request; 0 for none.
        max_cost_usd: In any hour, in US dollars; None for no limit.
        max_energy_j: In any hour, in joules; None for no limit.
    """

    share: float
    max_cost_usd: float | None = None
    max_energy_j: float | None = None


@dataclass(slots=True)
class ExplorationReservation:
    """What one shadow call takes: its worst case until it is settled. None where unknown and not limited."""

    at_s: float
    cost_usd: float | None
    energy_j: float | None


class ExplorationAccount:
    """Holds shadow calls to their budget. Told the time, never asks for it.

    Args:
        budget: What they may take.
    """

    def __init__(self, budget: ExplorationBudget) -> None:
        self._budget = budget
        self._credit = 0.0
        self._hour: deque[ExplorationReservation] = deque()

    def request(self) -> bool:
        """Count a routed request. Whether the share allows a call now."""
        # No more than one call is saved up: a quiet hour is no licence for a burst.
        self._credit = min(self._credit + self._budget.share, max(1.0, self._budget.share))
        return self.ready

    @property
    def ready(self) -> bool:
        """Whether the share allows a call now."""
        return self._credit >= 1.0 - 1e-9

    def affords(self, candidate: Candidate, now_s: float) -> bool:
        """Whether the worst case of one more call keeps to the limits; what is not known does not."""
        while self._hour and self._hour[0].at_s <= now_s - _HOUR_S:
            self._hour.popleft()
        spent = self._hour
        return _within(
            self._budget.max_cost_usd, [one.cost_usd for one in spent], candidate.estimates.cost_usd_worst
        ) and _within(self._budget.max_energy_j, [one.energy_j for one in spent], candidate.estimates.energy_j_worst)

    def reserve(self, candidate: Candidate, now_s: float) -> ExplorationReservation:
        """A call goes out: its worst case is spent."""
        self._credit -= 1.0
        reserved = ExplorationReservation(now_s, candidate.estimates.cost_usd_worst, candidate.estimates.energy_j_worst)
        self._hour.append(reserved)
        return reserved

    @staticmethod
    def settle(reserved: ExplorationReservation, cost_usd: float | None, energy_j: float | None) -> None:
        """The call is over: what it took, as far as that is known."""
        reserved.cost_usd = reserved.cost_usd if cost_usd is None else cost_usd
        reserved.energy_j = reserved.energy_j if energy_j is None else energy_j


def choose_shadow(
    decision: Decision,
    answered: str,
    view: PoolView,
    learned: Corrections | None,
    affords: Callable[[Candidate], bool],
) -> Candidate | None:
    """The admissible expert whose quality is most uncertain; of equals the one with fewest judgements.

    Args:
        decision: On the request; an expert that a hard cap dropped is out.
        answered: Who answered.
        view: The pool now: only an expert with places to spare is asked.
        learned: What judged answers have taught.
        affords: Whether the budget allows a call.
    """
    idle = {
        spec.name
        for spec, state in view.entries
        if state.healthy and state.awake and state.in_flight + 1 <= max(1.0, IDLE_SHARE * spec.batch)
    }
    found = [
        one
        for one in decision.candidates
        if one.utility is not None
        and not one.spec.null
        and one.spec.name != answered
        and one.spec.name in idle
        and affords(one)
    ]
    return min(
        found,
        key=lambda one: (
            -(_UNKNOWN_STD if math.isnan(one.estimates.quality.std) else one.estimates.quality.std),
            0.0 if learned is None else learned.count(one.spec.name),
        ),
        default=None,
    )


def quality_by_agreement(given: float, shadow: float, *, agree: bool) -> float:
    """What agreement says of the shadow's answer, as above.

    Args:
        given: Predicted quality of the answer that was given, in [0, 1].
        shadow: Of the shadow's, in [0, 1].
        agree: Whether both state the same result.
    """
    if agree:
        return 1.0
    return (1.0 - given) * shadow / max(1.0 - given * shadow, 1e-9)


def _within(limit: float | None, spent: list[float | None], worst: float | None) -> bool:
    if limit is None:
        return True
    return worst is not None and sum(one for one in spent if one is not None) + worst <= limit
