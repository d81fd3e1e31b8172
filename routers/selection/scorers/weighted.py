"""The caller's weights: priced constraints C_j in [0, 1] over the admissible candidates (Tryage, arXiv 2308.11601).

An amount (milliseconds, joules, dollars, parameters, answer tokens) is divided by the largest among them: 1 is the
dearest, half its amount is 0.5. Dividing, rather than stretching the smallest to 0, keeps a 1 % difference a 1 %
difference. Age has no natural zero, so dates are stretched from the newest (0) to the oldest (1). Readability is stated
in [0, 1] and counts as 1 minus itself. What is not known counts as the largest: nobody gains by not being measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import numpy as np

from pointsman.routers.arrays import Column
from pointsman.routers.budget import WEIGHTS, Scale, Weight, Weights
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.selection.scorers.kind import Positions, Scorer
from pointsman.routers.types import Budget, RouteRequest


def share_of_largest(amounts: Column) -> Column:
    """Share of the largest known amount, in [0, 1]; 1 where unknown, 0 for the known when nothing costs anything."""
    known = amounts[~np.isnan(amounts)]
    largest = float(known.max()) if len(known) else 0.0
    shares = amounts / largest if largest > 0.0 else amounts * 0.0
    shares[np.isnan(amounts)] = 1.0
    return shares


def age(days: Column) -> Column:
    """Age between the newest (0) and the oldest (1) known release; 1 where unknown."""
    known = days[~np.isnan(days)]
    span = float(known.max() - known.min()) if len(known) else 0.0
    ages = (known.max() - days) / span if span > 0.0 else days * 0.0
    ages[np.isnan(days)] = 1.0
    return np.asarray(ages)


def one_minus(shares: Column) -> Column:
    """What is missing to 1; 1 where unknown."""
    return np.where(np.isnan(shares), 1.0, 1.0 - shares)


_SCALES: Final[Mapping[Scale, Callable[[Column], Column]]] = MappingProxyType(
    {Scale.SHARE_OF_LARGEST: share_of_largest, Scale.AGE: age, Scale.ONE_MINUS: one_minus}
)
#: The very object of a budget that states none, so that most comparisons end at identity.
_NO_WEIGHTS: Final = Budget().weights


def weighted(table: Iterable[Weight] = WEIGHTS) -> Scorer:
    """The scorer of a table of weights."""
    priced = [weight for weight in table if weight.figure]
    parts = tuple(
        (weight.name, attrgetter(weight.name), attrgetter(weight.figure), _SCALES[weight.scale]) for weight in priced
    )

    def score(request: RouteRequest, figures: CallFigures, admissible: Positions) -> Mapping[str, Column] | None:
        weights = request.budget.weights
        if weights is _NO_WEIGHTS or weights == _NO_WEIGHTS:
            return None
        terms: dict[str, Column] = {}
        for name, weight_of, column, constraint in parts:
            if weight := weight_of(weights):
                terms[name] = -weight * constraint(column(figures)[admissible])
        return terms

    return Scorer(MappingProxyType({weight.name: weight.help for weight in priced}), score)


_prices_of: Final[Callable[[Weights], tuple[float, ...]]] = attrgetter(*(one.name for one in WEIGHTS if one.figure))


def prices_decide(weights: Weights) -> bool:
    """Whether the caller's prices together outweigh quality: then answer quality is not what decides."""
    return sum(_prices_of(weights)) > weights.quality


WEIGHTED: Final = weighted()
