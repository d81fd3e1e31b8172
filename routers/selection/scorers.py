"""Soft constraints C_j of Tryage's objective (papers.md §1.1, T3), each in [0, 1] over the admissible candidates.

    U_n(x) = λ_quality q̂_n(x) - Σ_j λ_j C_j(n)

An amount (milliseconds, joules, dollars, parameters) is divided by the largest among the admissible candidates: 1 is
the dearest of them, half its amount is 0.5. Dividing, rather than stretching the smallest to 0, keeps a 1 % difference
a 1 % difference. Age has no natural zero, so dates are stretched from the newest (0) to the oldest (1). What is not
known counts as the largest: nobody gains by not being measured. Estimates are the expected ones; worst cases are for
caps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from routers.protocols import Scorer
from routers.types import Candidate, RouteRequest, Weights


@dataclass(frozen=True, slots=True)
class AmountScorer:
    """Score an amount as a share of the largest known one.

    Attributes:
        name: Name of the term.
        amount: Candidate -> amount, at least 0, None when unknown.
    """

    name: str
    amount: Callable[[Candidate], float | None]

    def score(self, request: RouteRequest, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Share of the largest amount, in [0, 1]; 1 where unknown, 0 for all when nothing costs anything."""
        amounts = [self.amount(candidate) for candidate in candidates]
        largest = max((value for value in amounts if value is not None), default=0.0)
        if largest <= 0.0:
            return [1.0 if value is None else 0.0 for value in amounts]
        return [1.0 if value is None else value / largest for value in amounts]


@dataclass(frozen=True, slots=True)
class RecencyScorer:
    """Score age between the newest (0) and the oldest (1) known release."""

    name: str = "recency"

    def score(self, request: RouteRequest, candidates: Sequence[Candidate]) -> Sequence[float]:
        """Age in [0, 1]; 1 where the date is unknown or cannot be read."""
        days = [_days(candidate.spec.released) for candidate in candidates]
        known = [day for day in days if day is not None]
        if not known:
            return [1.0] * len(days)
        newest, oldest = max(known), min(known)
        span = newest - oldest
        return [1.0 if day is None else (newest - day) / span if span else 0.0 for day in days]


def _days(released: str | None) -> int | None:
    if released is None:
        return None
    try:
        return date.fromisoformat(released).toordinal()
    except ValueError:
        return None


def _latency_ms(candidate: Candidate) -> float | None:
    return candidate.estimates.latency_ms


def _energy_j(candidate: Candidate) -> float | None:
    return candidate.estimates.energy_j


def _cost_usd(candidate: Candidate) -> float | None:
    return candidate.estimates.cost_usd


def _params_b(candidate: Candidate) -> float | None:
    return candidate.spec.params_total_b


LATENCY = AmountScorer("latency", _latency_ms)
ENERGY = AmountScorer("energy", _energy_j)
COST = AmountScorer("cost", _cost_usd)
SIZE = AmountScorer("size", _params_b)
RECENCY = RecencyScorer()


def scorers_for(weights: Weights) -> tuple[tuple[float, Scorer], ...]:
    """The priced constraints with their prices λ; unpriced ones are left out."""
    priced: tuple[tuple[float, Scorer], ...] = (
        (weights.latency, LATENCY),
        (weights.energy, ENERGY),
        (weights.cost, COST),
        (weights.size, SIZE),
        (weights.recency, RECENCY),
    )
    return tuple(pair for pair in priced if pair[0])


def score_candidates(request: RouteRequest, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The admissible candidates with `utility` and `terms` filled in, in the given order."""
    weights = request.budget.weights
    priced = [(scorer.name, weight, scorer.score(request, candidates)) for weight, scorer in scorers_for(weights)]
    scored = []
    for index, candidate in enumerate(candidates):
        utility = weights.quality * candidate.estimates.quality.mean
        terms = {"quality": utility}
        for name, weight, scores in priced:
            term = -weight * scores[index]
            terms[name] = term
            utility += term
        scored.append(Candidate(candidate.spec, candidate.state, candidate.estimates, utility, terms))
    return scored
