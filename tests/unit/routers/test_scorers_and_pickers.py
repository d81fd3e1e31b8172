"""Constraints are shares of the largest amount, unknown is the worst, and ties end at the name."""

import math

import numpy as np
import pytest

from pointsman.experts.spec import EnergyModel, ExpertState, LatencyModel, Price
from pointsman.routers.selection.pickers import by_utility
from pointsman.routers.selection.scorers.utility import utility_terms
from pointsman.routers.types import Budget, Prices, RouteRequest, Stay, Weights
from tests.unit.routers.pools import assessment, figures_of, spec


def terms_of(budget, *specs, stay=None, **qualities):
    figures = figures_of(*((one, ExpertState()) for one in specs), given=assessment(qualities))
    request = RouteRequest("r", "", 1, budget=budget, stay=stay)
    return {name: term.tolist() for name, term in utility_terms(request, figures, figures.roster.positions).items()}


def constraint(name, *specs):
    return [-value for value in terms_of(Budget(weights=Weights(**{name: 1.0})), *specs)[name]]


def test_amounts_are_shares_of_the_largest():
    pool = (spec("a", params_total_b=7.0), spec("b", params_total_b=70.0), spec("c", params_total_b=None))
    assert constraint("size", *pool) == [pytest.approx(0.1), 1.0, 1.0]


def test_free_experts_cost_nothing_and_unpriced_ones_everything():
    assert constraint("cost", spec("a", price=Price(0, 0)), spec("b", price=None)) == [0.0, 1.0]


def test_recency_runs_from_the_newest_to_the_oldest():
    dates = ("2024-01-01", "2024-01-11", "2024-01-06", None, "last spring")
    pool = [spec(str(index), released=released) for index, released in enumerate(dates)]
    assert constraint("recency", *pool) == [1.0, 0.0, 0.5, 1.0, 1.0]
    assert constraint("recency", spec("a"), spec("b")) == [1.0, 1.0]


def test_readability_is_the_operators_word_and_silence_is_the_worst():
    pool = (spec("a", readability=0.75), spec("b", readability=1.0), spec("c", readability=None))
    assert constraint("readability", *pool) == [0.25, 0.0, 1.0]


def test_verbosity_is_the_expected_length_of_the_answer():
    figures = figures_of(
        (spec("a"), ExpertState()),
        (spec("b"), ExpertState()),
        given=assessment({}, a=(50.0, 400.0), b=(200.0, 300.0)),
    )
    request = RouteRequest("r", "", 1, budget=Budget(weights=Weights(verbosity=2.0)))
    terms = utility_terms(request, figures, figures.roster.positions)
    assert terms["verbosity"].tolist() == [-0.5, -2.0]


def test_only_priced_constraints_are_scored():
    assert list(terms_of(Budget(), spec("a"))) == ["quality"]
    budget = Budget(weights=Weights(cost=1.0, recency=2.0), prices=Prices(per_j=1.0))
    assert list(terms_of(budget, spec("a"))) == ["quality", "cost", "recency", "budget_energy"]


def test_each_term_is_its_price_times_its_share():
    terms = terms_of(
        Budget(weights=Weights(quality=2.0, size=0.5)), spec("a"), spec("b", params_total_b=70.0), a=0.6, b=0.8
    )
    assert terms == {"quality": pytest.approx([1.2, 1.6]), "size": pytest.approx([-0.05, -0.5])}


def test_operators_prices_are_in_natural_units_and_the_unknown_pays_the_most():
    pool = (
        spec("a", price=Price(1.0, 2.0), energy=EnergyModel(3.0, 0.0, 0.0), latency=LatencyModel(40.0, 0.0, 1.0)),
        spec("b", price=Price(10.0, 20.0), energy=None, latency=LatencyModel(60.0, 0.0, 1.0)),
        spec("c", price=None, energy=None, latency=None),
    )
    terms = terms_of(Budget(prices=Prices(per_usd=100.0, per_j=0.1, per_ttft_ms=0.01)), *pool)
    dollars = (100 * 1.0 + 256 * 2.0) / 1e6
    assert terms["budget_cost"] == pytest.approx([-100 * dollars, -1000 * dollars, -1000 * dollars])
    assert terms["budget_energy"] == pytest.approx([-0.3, -0.3, -0.3])
    assert terms["budget_ttft"] == pytest.approx([-0.4, -0.6, -0.6])


def test_where_no_amount_is_known_a_price_buys_nothing():
    terms = terms_of(Budget(prices=Prices(per_usd=9.0)), spec("a", price=None), spec("b", price=None))
    assert terms["budget_cost"] == [0.0, 0.0]


def test_ties_go_to_quality_then_cost_then_name():
    pool = [
        spec("d"),
        spec("c", price=None),
        spec("b", price=Price(0.5, 0.5)),
        spec("a", price=Price(0.5, 0.5)),
        spec("e"),
        spec("f"),
    ]
    qualities = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5, "e": 0.9, "f": 0.1}
    figures = figures_of(*((one, ExpertState()) for one in pool), given=assessment(qualities))
    utility = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.1])
    order = by_utility(figures, figures.roster.positions, utility)
    assert [pool[index].name for index in order] == ["f", "e", "a", "b", "d", "c"]


def test_further_ties_go_to_fewer_calls_in_flight_then_to_fewer_lately_and_then_by_name() -> None:
    states = {"c": (0, 1.0), "a": (0, 2.0), "b": (0, 1.0), "busy": (1, 0.0)}
    entries = [(spec(name), ExpertState(in_flight=now, recent_calls=lately)) for name, (now, lately) in states.items()]
    figures = figures_of(*entries, given=assessment({}))
    order = by_utility(figures, figures.roster.positions, np.zeros(4))
    assert [entries[index][0].name for index in order] == ["b", "c", "a", "busy"]


def test_a_utility_without_ties_needs_no_other_key():
    figures = figures_of((spec("a"), ExpertState()), (spec("b"), ExpertState()))
    assert by_utility(figures, figures.roster.positions, np.array([0.1, 0.2])).tolist() == [1, 0]
    assert "cost_usd" not in vars(figures)
    assert not math.isnan(figures.quality.sum())


def test_staying_is_worth_its_bonus_and_only_for_an_expert_of_the_pool():
    pool = (spec("a"), spec("b"))
    assert terms_of(Budget(), *pool, stay=Stay("b", 0.05))["stay"] == [0.0, 0.05]
    assert "stay" not in terms_of(Budget(), *pool, stay=Stay("gone", 0.05))
