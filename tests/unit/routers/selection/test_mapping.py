"""The category mapping against brute force, and what it says when there is none."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.routers.training.mapping import MappingInfeasible, MappingLimit, MappingProblem, describe, map_categories

SIZES = np.array([7.0, 9.0, 27.0, 70.0, 72.0])


def problem(seed: int, categories: int = 5, experts: int = 4) -> MappingProblem:
    rng = np.random.default_rng(seed)
    total = rng.choice(SIZES, experts)
    capped = rng.random(3) < 0.7
    return MappingProblem(
        scores=rng.random((categories, experts)),
        shares=rng.dirichlet(np.ones(categories)),
        total_b=total,
        active_b=total * rng.uniform(0.2, 1.0, experts),
        worst_ms=rng.uniform(100, 1000, (categories, experts)),
        max_resident_b=float(rng.uniform(10, 160)) if capped[0] else np.inf,
        max_active_b=float(rng.uniform(3, 60)) if capped[1] else np.inf,
        max_latency_ms=rng.uniform(300, 1000, categories) if capped[2] else None,
    )


def brute_force(given: MappingProblem) -> float | None:
    """The value of the best mapping, straight from the limits' definition."""
    best = None
    categories, experts = given.scores.shape
    for mapping in product(range(experts), repeat=categories):
        resident = sum(given.total_b[expert] for expert in set(mapping))
        active = sum(share * given.active_b[expert] for share, expert in zip(given.shares, mapping, strict=True))
        slow = given.max_latency_ms is not None and any(
            given.worst_ms[row, expert] > given.max_latency_ms[row] for row, expert in enumerate(mapping)
        )
        if resident > given.max_resident_b or active > given.max_active_b or slow:
            continue
        value = sum(given.shares[row] * given.scores[row, expert] for row, expert in enumerate(mapping))
        best = value if best is None else max(best, value)
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000))
def test_equal_to_brute_force(seed):
    given_problem = problem(seed)
    best = brute_force(given_problem)
    if best is None:
        with pytest.raises(MappingInfeasible):
            map_categories(given_problem)
        return
    found = map_categories(given_problem)
    assert found.value == pytest.approx(best, abs=1e-7)
    assert found.resident_b <= given_problem.max_resident_b + 1e-6
    assert found.average_active_b <= given_problem.max_active_b + 1e-6


def test_an_interior_optimum_that_no_price_finds():
    # Three experts on one category's line: the middle one is below the hull, yet best within the budget.
    found = map_categories(
        MappingProblem(
            scores=np.array([[0.1, 0.4, 0.9]]),
            shares=np.ones(1),
            total_b=np.array([1.0, 5.0, 10.0]),
            active_b=np.array([1.0, 5.0, 10.0]),
            max_active_b=6.0,
        )
    )
    assert found.experts == (1,)


def base(**limits: object) -> MappingProblem:
    return MappingProblem(
        scores=np.array([[0.9, 0.2], [0.3, 0.8]]),
        shares=np.array([0.5, 0.5]),
        total_b=np.array([40.0, 30.0]),
        active_b=np.array([40.0, 3.0]),
        worst_ms=np.array([[100.0, 50.0], [100.0, 900.0]]),
        **limits,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"max_resident_b": 20.0}, MappingLimit.RESIDENT),
        ({"max_active_b": 2.0}, MappingLimit.ACTIVE),
        ({"max_latency_ms": np.array([20.0, np.inf])}, MappingLimit.LATENCY),
        ({"max_active_b": 5.0, "max_latency_ms": np.array([np.inf, 500.0])}, MappingLimit.TOGETHER),
    ],
)
def test_what_is_in_the_way_is_said(limits, limit):
    with pytest.raises(MappingInfeasible) as refusal:
        map_categories(base(**limits))
    assert refusal.value.limit is limit


def test_without_limits_every_category_gets_its_best():
    found = map_categories(base())
    assert found.experts == (0, 1)
    assert found.resident_b == 70.0
    assert found.average_active_b == pytest.approx(21.5)


def test_unknown_sizes_keep_out_only_where_they_are_capped():
    unknown = MappingProblem(
        scores=np.array([[0.9, 0.2]]),
        shares=np.ones(1),
        total_b=np.array([np.nan, 7.0]),
        active_b=np.array([np.nan, 7.0]),
    )
    assert map_categories(unknown).experts == (0,)
    assert np.isnan(map_categories(unknown).resident_b)
    capped = MappingProblem(unknown.scores, unknown.shares, unknown.total_b, unknown.active_b, max_resident_b=100.0)
    assert map_categories(capped).experts == (1,)


def test_describe_counts_each_resident_expert_once():
    assert describe(base(), np.array([0, 0])).resident_b == 40.0
