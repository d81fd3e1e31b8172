"""Scores are shares of the largest amount, unknown is the worst, and ties end at the name."""

import pytest

from experts.spec import ExpertState, Price
from routers.estimators.candidate import build_candidate
from routers.selection.pickers import HighestUtility
from routers.selection.scorers import COST, RECENCY, SIZE, score_candidates, scorers_for
from routers.types import Budget, Weights
from tests.unit.routers.pools import assessment, request, spec


def candidates(*specs, **qualities):
    given = assessment(qualities)
    return [build_candidate(expert, ExpertState(), request(), given) for expert in specs]


def test_amounts_are_shares_of_the_largest():
    pool = candidates(spec("a", params_total_b=7.0), spec("b", params_total_b=70.0), spec("c", params_total_b=None))
    assert SIZE.score(request(), pool) == [pytest.approx(0.1), 1.0, 1.0]


def test_free_experts_cost_nothing_and_unpriced_ones_everything():
    pool = candidates(spec("a", price=Price(0, 0)), spec("b", price=None))
    assert COST.score(request(), pool) == [0.0, 1.0]


def test_recency_runs_from_the_newest_to_the_oldest():
    pool = candidates(
        spec("a", released="2024-01-01"),
        spec("b", released="2024-01-11"),
        spec("c", released="2024-01-06"),
        spec("d", released=None),
        spec("e", released="last spring"),
    )
    assert RECENCY.score(request(), pool) == [1.0, 0.0, 0.5, 1.0, 1.0]


def test_only_priced_constraints_are_scored():
    assert scorers_for(Weights()) == ()
    assert [scorer.name for _, scorer in scorers_for(Weights(cost=1.0, recency=2.0))] == ["cost", "recency"]


def test_the_utility_is_the_sum_of_its_terms():
    pool = candidates(spec("a"), spec("b", params_total_b=70.0), a=0.6, b=0.8)
    scored = score_candidates(request(Budget(weights=Weights(quality=2.0, size=0.5))), pool)
    assert scored[0].terms == {"quality": pytest.approx(1.2), "size": pytest.approx(-0.05)}
    assert scored[1].terms == {"quality": pytest.approx(1.6), "size": pytest.approx(-0.5)}
    for candidate in scored:
        assert candidate.utility == pytest.approx(sum(candidate.terms.values()))


def test_ties_go_to_quality_then_cost_then_name():
    weights = Budget(weights=Weights(quality=0.0))
    pool = candidates(
        spec("d"),
        spec("c", price=None),
        spec("b", price=Price(0.5, 0.5)),
        spec("a", price=Price(0.5, 0.5)),
        spec("e"),
        a=0.5,
        b=0.5,
        c=0.5,
        d=0.5,
        e=0.9,
    )
    ranked = HighestUtility().rank(request(weights), score_candidates(request(weights), pool))
    assert [candidate.spec.name for candidate in ranked] == ["e", "a", "b", "d", "c"]
