"""RouterArena's formulas against its own published rows and against small pools worked out by hand."""

import numpy as np
import pytest

from pointsman.evals.metrics.router_arena import arena_score, optimality
from pointsman.evals.metrics.selection import one_hot

NAN = float("nan")


@pytest.mark.parametrize(
    ("accuracy", "usd_per_1k", "published"),
    # Of the public leaderboard: OrcaRouter, R2-Router, vLLM-SR, GPT-5, RouteLLM, RouterDC.
    [
        (0.7554, 1.00, 0.7208),
        (0.7123, 0.06, 0.7160),
        (0.6653, 0.06, 0.6723),
        (0.7396, 10.02, 0.6432),
        (0.4704, 0.27, 0.4807),
        (0.3201, 0.07, 0.3375),
    ],
)
def test_the_published_leaderboard_comes_back(accuracy: float, usd_per_1k: float, published: float) -> None:
    # Costs are published with two digits: at 6 cents that alone moves the score by 3e-4.
    assert arena_score(accuracy, usd_per_1k) == pytest.approx(published, abs=4e-4)


def test_the_score_at_the_ends_of_the_range() -> None:
    assert arena_score(0.5, 0.0044) == pytest.approx(1.1 * 0.5 / 1.05)
    assert arena_score(0.5, 0.001) == arena_score(0.5, 0.0044)
    assert arena_score(0.5, 200) == arena_score(0.5, 999) == 0
    assert arena_score(0.0, 200) == 0
    assert np.isnan(arena_score(0.5, 0.0))
    assert np.isnan(arena_score(0.5, NAN))


def test_optimality_by_hand() -> None:
    # cheap, middle, dear; the last prompt is nobody's, the one before has an unknown cost where it would be cheapest.
    scores = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0.9, 1], [0, 0, 0]], dtype=float)
    cost = np.array([[1, 2, 4], [1, 2, 4], [1, 2, 4], [NAN, 2, 4], [1, 2, 4]], dtype=float)
    found = optimality(scores, cost, one_hot(np.array([1, 1, 1, 2, 0]), 3))
    # Right on prompts 0, 1 and 3 of four that can be had; cheapest right on 1 and 3; pays 2+2+4 where 1+2+4 would do.
    assert found.selection == pytest.approx(2 / 3)
    assert found.cost == pytest.approx(7 / 8)
    assert found.accuracy == pytest.approx(3 / 4)


def test_a_score_short_of_full_is_not_right() -> None:
    found = optimality(np.array([[0.99, 1.0]]), np.array([[1.0, 3.0]]), one_hot(np.array([0]), 2))
    assert found.accuracy == 0
    assert np.isnan(found.selection)
    assert np.isnan(found.cost)


def test_the_oracle_is_optimal_and_random_is_taken_in_expectation() -> None:
    scores, cost = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 3.0], [1.0, 3.0]])
    best = optimality(scores, cost, one_hot(np.array([0, 1]), 2))
    assert (best.selection, best.cost, best.accuracy) == (1, 1, 1)
    chance = optimality(scores, cost, np.full((2, 2), 0.5))
    assert chance.selection == pytest.approx(2 / 3)
    assert chance.cost == pytest.approx((1 + 3 * 0.5) / (0.5 + 1.5 + 1.5))
    assert chance.accuracy == pytest.approx(1.5 / 2)
