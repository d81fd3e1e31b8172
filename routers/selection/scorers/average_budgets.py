"""The operator's prices μ (`Prices`), in natural units, because they hold averages over many requests."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import numpy as np

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.selection.scorers.kind import Positions, Scorer
from pointsman.routers.types import Budget, RouteRequest


def at_worst(amounts: Column) -> Column:
    """The amounts, with the largest known one where unknown; all 0 when none is known."""
    known = amounts[~np.isnan(amounts)]
    return np.where(np.isnan(amounts), known.max() if len(known) else 0.0, amounts)


#: Term -> its price, and the column of natural units it is paid for.
_PRICES: Final = (
    ("budget_cost", attrgetter("per_usd"), attrgetter("cost_usd.expected")),
    ("budget_energy", attrgetter("per_j"), attrgetter("energy_j.expected")),
    ("budget_ttft", attrgetter("per_ttft_ms"), attrgetter("ttft_ms.expected")),
)
#: The very object of a budget that states none, so that most comparisons end at identity.
_NO_PRICES: Final = Budget().prices


def _priced(request: RouteRequest, figures: CallFigures, admissible: Positions) -> Mapping[str, Column] | None:
    prices = request.budget.prices
    if prices is _NO_PRICES or prices == _NO_PRICES:
        return None
    terms: dict[str, Column] = {}
    for name, price_of, column in _PRICES:
        if price := price_of(prices):
            terms[name] = -price * at_worst(column(figures)[admissible])
    return terms


AVERAGE_BUDGETS: Final = Scorer(
    MappingProxyType(
        {
            "budget_cost": "What the average budget on cost takes for the dollars it is expected to cost.",
            "budget_energy": "What the average budget on energy takes for the joules it is expected to take.",
            "budget_ttft": "What the average budget on the time to first token takes for the expected milliseconds.",
        }
    ),
    _priced,
)
