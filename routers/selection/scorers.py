"""The utility: predicted quality minus priced constraints C_j (Tryage's objective, arXiv 2308.11601).

    U_n(x) = λ_quality q̂_n(x) - Σ_j λ_j C_j(n) - (μ_usd cost + μ_j energy + μ_ms ttft)
              + [n answered last] bonus + [n is a null expert] (bonus - price of the dial τ)

The caller's constraints C_j lie in [0, 1] over the admissible candidates. An amount (milliseconds, joules, dollars,
parameters, answer tokens) is divided by the largest among them: 1 is the dearest, half its amount is 0.5. Dividing,
rather than stretching the smallest to 0, keeps a 1 % difference a 1 % difference. Age has no natural zero, so dates are
stretched from the newest (0) to the oldest (1). Readability is stated in [0, 1] and counts as 1 minus itself. What is
not known counts as the largest: nobody gains by not being measured.

The operator's prices μ (`Prices`) are in natural units, because they hold averages over many requests.

Estimates are the expected ones; worst cases are for caps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from routers.arrays import Column
from routers.estimators.call import CallFigures
from routers.types import Prices, RouteRequest, Weights

#: Positions of the admissible experts in the pool.
Positions = npt.NDArray[np.intp]


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


def at_worst(amounts: Column) -> Column:
    """The amounts, with the largest known one where unknown; all 0 when none is known."""
    known = amounts[~np.isnan(amounts)]
    return np.where(np.isnan(amounts), known.max() if len(known) else 0.0, amounts)


def _hardness(readability: Column) -> Column:
    return np.where(np.isnan(readability), 1.0, 1.0 - readability)


#: Term -> its weight, the column it is made of, and how that becomes a constraint in [0, 1].
_CONSTRAINTS: Mapping[
    str,
    tuple[Callable[[Weights], float], Callable[[CallFigures], Column], Callable[[Column], Column]],
] = {
    "latency": (lambda w: w.latency, lambda f: f.latency_ms.expected, share_of_largest),
    "energy": (lambda w: w.energy, lambda f: f.energy_j.expected, share_of_largest),
    "cost": (lambda w: w.cost, lambda f: f.cost_usd.expected, share_of_largest),
    "size": (lambda w: w.size, lambda f: f.roster.params_b, share_of_largest),
    "recency": (lambda w: w.recency, lambda f: f.roster.released_day, age),
    "verbosity": (lambda w: w.verbosity, lambda f: f.completion_tokens.expected, share_of_largest),
    "readability": (lambda w: w.readability, lambda f: f.roster.readability, _hardness),
}

#: Term -> its price, and the column of natural units it is paid for.
_PRICES: Mapping[str, tuple[Callable[[Prices], float], Callable[[CallFigures], Column]]] = {
    "budget_cost": (lambda p: p.per_usd, lambda f: f.cost_usd.expected),
    "budget_energy": (lambda p: p.per_j, lambda f: f.energy_j.expected),
    "budget_ttft": (lambda p: p.per_ttft_ms, lambda f: f.ttft_ms.expected),
}

_NO_WEIGHTS = Weights()
_NO_PRICES = Prices()


def utility_terms(request: RouteRequest, figures: CallFigures, admissible: Positions) -> dict[str, Column]:
    """The terms of the utility of the admissible experts: quality positive, what is priced negative.

    Args:
        request: Its weights, prices and session; a term without a price is left out.
        figures: Of the request, over the pool.
        admissible: Positions in the pool, k of them.

    Returns:
        Name of the term -> shape (k,).
    """
    weights, prices = request.budget.weights, request.budget.prices
    terms = {"quality": weights.quality * figures.quality[admissible]}
    if weights != _NO_WEIGHTS:
        for name, (weight_of, column, constraint) in _CONSTRAINTS.items():
            if weight := weight_of(weights):
                terms[name] = -weight * constraint(column(figures)[admissible])
    if prices != _NO_PRICES:
        for name, (price_of, column) in _PRICES.items():
            if price := price_of(prices):
                terms[name] = -price * at_worst(column(figures)[admissible])
    stay = request.stay
    if stay is not None and stay.expert in figures.roster.names:
        terms["stay"] = np.where(admissible == figures.roster.names.index(stay.expert), stay.bonus, 0.0)
    if request.offers.bonus and figures.roster.null_positions:
        terms["null"] = np.where(figures.roster.null[admissible], request.offers.bonus, 0.0)
    return terms


def prices_decide(weights: Weights) -> bool:
    """Whether the caller's prices together outweigh quality: then answer quality is not what decides."""
    return sum(weight_of(weights) for weight_of, _, _ in _CONSTRAINTS.values()) > weights.quality
