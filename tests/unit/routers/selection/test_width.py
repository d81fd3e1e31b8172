"""Calibrated top-p: by hand, at its edges, and in a world where the temperature is known."""

from __future__ import annotations

import numpy as np
import pytest

from pointsman.routers.selection.width import probability_best, smallest_sets
from pointsman.routers.training.width import fit_temperature


def test_the_set_ends_with_the_expert_that_crosses_p() -> None:
    probability = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.9, 0.06, 0.04]])
    assert smallest_sets(probability, 0.4).tolist() == [
        [True, False, False],
        [False, False, True],
        [True, False, False],
    ]
    assert smallest_sets(probability, 0.6).sum(axis=1).tolist() == [2, 2, 1]
    assert smallest_sets(probability, 0.95).sum(axis=1).tolist() == [3, 3, 2]


def test_a_sum_of_exactly_p_does_not_exceed_it() -> None:
    assert smallest_sets(np.array([[0.5, 0.25, 0.25]]), 0.5).sum() == 2


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.5])
def test_p_lies_strictly_between_0_and_1(p: float) -> None:
    with pytest.raises(ValueError, match="strictly between"):
        smallest_sets(np.array([[0.5, 0.5]]), p)


def test_heat_makes_sets_wide_and_cold_makes_them_narrow() -> None:
    quality = np.random.default_rng(0).uniform(size=(500, 8))
    width = [smallest_sets(probability_best(quality, t), 0.4).sum(axis=1).mean() for t in (0.01, 0.1, 0.3, 10.0)]
    assert width == sorted(width)
    assert width[0] < 1.2
    assert width[-1] > 3.0


def test_the_fitted_temperature_is_the_one_that_made_the_outcomes() -> None:
    rng = np.random.default_rng(1)
    quality = rng.uniform(size=(20_000, 5))
    share = probability_best(quality, 0.25)
    best = (share.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(quality, np.eye(5)[best]) == pytest.approx(0.25, rel=0.05)


def test_tied_outcomes_fit_a_high_temperature() -> None:
    quality = np.random.default_rng(2).uniform(size=(1000, 4))
    assert fit_temperature(quality, np.ones((1000, 4))) > 10.0
