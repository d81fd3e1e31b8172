"""One policy for every preference: more weight on cost never raises the cost of what is chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.experts.spec import PoolView, Price
from pointsman.routers.types import Budget, Weights
from tests.unit.routers.pools import assessment, request, spec, views
from tests.unit.routers.test_two_stage_select import make_router

_WEIGHTS = st.lists(st.floats(0.0, 3.0), min_size=2, max_size=6).map(sorted)


def dearness(view: PoolView, qualities: dict[str, float], weights: Weights, *, uncertain: bool) -> float | None:
    """The cost of the chosen as the router sees it: a share of the dearest admissible, 1 where unknown."""
    asked = request(Budget(weights=weights))
    decision = make_router().select(assessment(qualities, uncertain=uncertain), asked, view)
    if decision.expert is None:
        return None
    # Asked again with a weight of 1, so that the share stands in the terms whatever the weight was.
    told = make_router().select(assessment(qualities), request(Budget(weights=replace(weights, cost=1.0))), view)
    return next(-one.terms["cost"] for one in told.candidates if one.spec.name == decision.expert)


@settings(max_examples=200, deadline=None)
@given(views(), _WEIGHTS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_weight_on_cost_never_chooses_a_dearer_expert(
    pool: tuple[PoolView, dict[str, float]], rising: list[float], latency: float, energy: float
) -> None:
    view, qualities = pool
    seen = [
        dearness(view, qualities, Weights(cost=weight, latency=latency, energy=energy), uncertain=False)
        for weight in rising
    ]
    # A choice between equals to the last bit may fall either way.
    assert all(a is None or b is None or b <= a + 1e-9 for a, b in pairwise(seen))


@settings(max_examples=300, deadline=None)
@given(views(), _WEIGHTS)
def test_nor_where_an_uncertain_prompt_goes_to_a_generalist(
    pool: tuple[PoolView, dict[str, float]], rising: list[float]
) -> None:
    view, qualities = pool
    seen = [dearness(view, qualities, Weights(cost=weight), uncertain=True) for weight in rising]
    assert all(a is None or b is None or b <= a + 1e-9 for a, b in pairwise(seen))


@pytest.mark.parametrize(("weight", "chosen"), [(0.5, "plain"), (1.5, "plain"), (20.0, "tiny")])
def test_a_price_lifts_the_rule_of_the_generalist_only_for_who_is_cheaper(weight: float, chosen: str) -> None:
    # Without the rule `clever` would win at 1.5: dearer than the generalist, and worth it.
    view = PoolView.of(
        spec("clever", price=Price(2.0, 2.0)),
        spec("plain", price=Price(1.0, 1.0), generalist=True),
        spec("tiny", price=Price(0.9, 0.9)),
        spec("dear", price=Price(20.0, 20.0)),
    )
    qualities = {"clever": 0.9, "plain": 0.2, "tiny": 0.1, "dear": 0.5}
    asked = request(Budget(weights=Weights(cost=weight)))
    assert make_router().select(assessment(qualities, uncertain=True), asked, view).expert == chosen
