"""Who should answer, among those who may. Deterministic: ties end at the name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from routers.types import Candidate, RouteRequest


class HighestUtility:
    """Highest utility first; ties go to the higher predicted quality, then the lower cost, then the name."""

    def rank(self, request: RouteRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """All given candidates, best first."""
        return sorted(candidates, key=_order)


def _order(candidate: Candidate) -> tuple[float, float, float, str]:
    estimates = candidate.estimates
    utility = -math.inf if candidate.utility is None else candidate.utility
    cost = math.inf if estimates.cost_usd is None else estimates.cost_usd
    return -utility, -estimates.quality.mean, cost, candidate.spec.name
