"""Coarse selection against the enumeration of every set, and its bounds where enumeration is out of reach."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.routers.selection.subset_bounds import relax
from pointsman.routers.selection.subsets import best_subset
from pointsman.routers.selection.worst_case import AwakeSetLimits, SharedResource, WorstCaseEnergyCap, slow_pairs


def pool(seed: int, experts: int, prompts: int):
    """Experts with skills in four topics, larger ones better and dearer; limits that bind."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(2, 1, experts)
    fit = rng.normal(size=(prompts, 4)) @ rng.normal(size=(4, experts))
    quality = 1 / (1 + np.exp(-(fit + 0.4 * np.log(size) - 1)))
    resources = [SharedResource("resident_b", size, float(size.sum() * rng.uniform(0.1, 0.5)))]
    gpus = rng.integers(1, 5, experts).astype(float)
    joules = size * rng.lognormal(0, 0.3, experts)
    cap = WorstCaseEnergyCap(joules, float(np.sort(joules)[-3:].sum() * rng.uniform(0.2, 0.7)), int(rng.integers(1, 5)))
    kind = seed % 4
    if kind == 1:
        resources.append(SharedResource("gpus", gpus, float(gpus.sum() * 0.3)))
    return (
        quality,
        rng.dirichlet(np.ones(prompts)),
        AwakeSetLimits(resources if kind < 3 else [], cap if kind else None),
    )


def expected_best(quality, weights, members):
    """F(S), 0 for nobody."""
    return float(weights @ quality[:, members].max(axis=1, initial=0.0))


def best_by_enumeration(quality, weights, limits):
    """The largest F of all admissible sets, by looking at each."""
    weighted = quality * weights[:, None]
    best = 0.0
    stack = [((), np.zeros(len(quality)))]
    while stack:
        members, reached = stack.pop()
        best = max(best, float(reached.sum()))
        for expert in range(members[-1] + 1 if members else 0, quality.shape[1]):
            more = (*members, expert)
            if limits.allows(np.array(more)):
                stack.append((more, np.maximum(reached, weighted[:, expert])))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 11))
def test_small_pools_are_solved_as_enumeration_solves_them(seed, experts):
    quality, weights, limits = pool(seed, experts, 30)
    found = best_subset(quality, weights, limits)
    assert found.value == pytest.approx(best_by_enumeration(quality, weights, limits), abs=1e-8)
    assert found.gap < 1e-8
    members = np.array(found.members, dtype=np.intp)
    assert limits.allows(members)
    assert expected_best(quality, weights, members) == pytest.approx(found.value)


@pytest.mark.parametrize("seed", range(4))
def test_fifteen_experts(seed):
    quality, weights, limits = pool(seed, 15, 40)
    found = best_subset(quality, weights, limits)
    assert found.value == pytest.approx(best_by_enumeration(quality, weights, limits), abs=1e-8)
    assert found.gap < 1e-8
    assert found.nodes < 2**15 / 10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("experts", "seconds"), [(30, 1.0), pytest.param(200, 5.0, marks=pytest.mark.slow)])
def test_large_pools_come_with_a_proven_gap_in_time(experts, seconds, seed):
    quality, weights, limits = pool(seed, experts, 300)
    start = time.perf_counter()
    found = best_subset(quality, weights, limits, should_stop=lambda: time.perf_counter() - start > seconds)
    assert time.perf_counter() - start < 10 * seconds  # a slow machine may take longer over the root than it is given
    assert limits.allows(np.array(found.members))
    assert found.gap < 0.02 * found.value


def test_stopped_at_once_it_still_has_a_set_and_a_true_bound():
    quality, weights, limits = pool(2, 12, 40)
    hasty = best_subset(quality, weights, limits, should_stop=lambda: True)
    best = best_by_enumeration(quality, weights, limits)
    assert 0 < hasty.value <= best + 1e-9
    assert hasty.upper_bound >= best - 1e-9
    assert limits.allows(np.array(hasty.members))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 40))
def test_the_relaxation_is_never_below_what_can_be_had(seed, steps):
    quality, weights, limits = pool(4 * seed, 8, 20)
    (memory,) = limits.resources
    best = best_by_enumeration(quality, weights, limits)
    gains, prices = quality * weights[:, None], np.random.default_rng(seed).uniform(0, 0.05, 20)
    bound = relax(gains, memory.amounts[None], np.array([memory.limit]), prices, 0.0, steps)
    assert bound.gain >= best - 1e-9


def test_every_slack_is_what_forcing_an_expert_loses_at_least():
    quality, weights, limits = pool(8, 9, 25)
    (memory,) = limits.resources
    relaxed = relax(quality * weights[:, None], memory.amounts[None], np.array([memory.limit]), np.zeros(25), 0.0, 30)
    decided = 0
    for expert in np.flatnonzero(relaxed.share == 0):
        rest = AwakeSetLimits([SharedResource("resident_b", memory.amounts, memory.limit - memory.amounts[expert])])
        if memory.amounts[expert] > memory.limit:
            continue
        with_it = np.maximum(quality, quality[:, [expert]])
        forced = best_by_enumeration(with_it, weights, rest)
        assert forced <= relaxed.gain - relaxed.slack[expert] + 1e-9
        decided += 1
    assert decided


def test_more_room_never_hurts():
    quality, weights, _ = pool(0, 14, 40)
    size = np.random.default_rng(1).uniform(1, 70, 14)
    values = [
        best_subset(quality, weights, AwakeSetLimits([SharedResource("b", size, room)])).value
        for room in (5, 20, 80, 320, 999)
    ]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(expected_best(quality, weights, np.arange(14)))


def test_no_expert_is_woken_without_a_gain():
    # The first expert is cheap and comes in first; the other two do all that it does.
    quality = np.array([[0.6, 0.9, 0.1], [0.5, 0.1, 0.9]])
    limits = AwakeSetLimits([SharedResource("resident_b", np.array([1.0, 70.0, 70.0]), 200.0)])
    assert best_subset(quality, np.array([0.5, 0.5]), limits).members == (1, 2)


def test_without_an_admissible_expert_the_awake_set_is_empty():
    quality, weights, _ = pool(0, 5, 10)
    found = best_subset(quality, weights, AwakeSetLimits([SharedResource("resident_b", np.full(5, 7.0), 6.0)]))
    assert (found.members, found.value, found.gap) == ((), 0.0, 0.0)


def test_an_unknown_amount_keeps_an_expert_out_under_a_cap():
    quality, weights = np.array([[0.9, 0.5]]), np.array([1.0])
    limits = AwakeSetLimits(energy=WorstCaseEnergyCap(np.array([np.nan, 3.0]), 10.0))
    assert best_subset(quality, weights, limits).members == (1,)


def test_the_energy_cap_counts_the_k_dearest_members():
    # Both specialists together exceed what two calls may take; either alone with the small one does not.
    quality = np.array([[0.9, 0.1, 0.3], [0.1, 0.9, 0.3]])
    weights, joules = np.array([0.5, 0.5]), np.array([6.0, 6.0, 2.0])
    assert best_subset(quality, weights, AwakeSetLimits(energy=WorstCaseEnergyCap(joules, 10.0, k=1))).members == (0, 1)
    two = best_subset(quality, weights, AwakeSetLimits(energy=WorstCaseEnergyCap(joules, 10.0, k=2)))
    assert two.value == pytest.approx(0.6)
    assert len(two.members) == 2
    assert 2 in two.members


def test_slow_pairs():
    worst = np.array([[100.0, 900.0], [300.0, np.nan]])
    assert slow_pairs(worst, np.array([500.0, 500.0])).tolist() == [[False, True], [False, True]]
    assert not slow_pairs(worst, np.array([np.inf, np.inf])).any()


def test_what_is_refused():
    good = np.ones((2, 3)) * 0.5
    with pytest.raises(ValueError, match="finite"):
        best_subset(good * np.nan, np.ones(2), AwakeSetLimits())
    with pytest.raises(ValueError, match="go together"):
        best_subset(good, np.ones(3), AwakeSetLimits())
    with pytest.raises(ValueError, match="at least one"):
        WorstCaseEnergyCap(np.ones(1), 1.0, k=0)
