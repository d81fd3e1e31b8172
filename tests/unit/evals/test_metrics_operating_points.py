"""LLMRouterBench's trade-off metrics by hand."""

import numpy as np
import pytest

from pointsman.evals.metrics.operating_points import cost_save, pareto_distance, pareto_front, perf_gain
from pointsman.evals.metrics.quality import gain_over_single, gap_to_oracle

COST = np.array([1.0, 2.0, 3.0, 4.0])
QUALITY = np.array([0.4, 0.7, 0.6, 0.9])


def test_gain_gap_and_savings() -> None:
    assert perf_gain(QUALITY, 0.8) == pytest.approx(0.125)
    assert perf_gain(QUALITY, 1.0) == pytest.approx(-0.1)
    # 0.65 is first reached by the setting that costs 2; nothing is interpolated between 1 and 2.
    assert cost_save(COST, QUALITY, 4.0, 0.65) == pytest.approx(0.5)
    assert cost_save(COST, QUALITY, 3.2, 0.9) == pytest.approx(-0.25)
    assert np.isnan(cost_save(COST, QUALITY, 4.0, 0.95))
    assert gain_over_single(0.75, 0.6) == pytest.approx(0.25)
    assert gap_to_oracle(0.6, 0.8) == pytest.approx(0.25)


def test_the_front_has_no_beaten_point() -> None:
    assert pareto_front(COST, QUALITY).tolist() == [True, True, False, True]
    # Equal points beat nobody, least of all each other.
    assert pareto_front(np.array([1.0, 1.0]), np.array([0.5, 0.5])).tolist() == [True, True]
    assert pareto_front(np.array([1.0, 2.0]), np.array([0.5, 0.5])).tolist() == [True, False]


def test_distance_to_the_front() -> None:
    assert pareto_distance(COST[[1, 3]], QUALITY[[1, 3]], COST, QUALITY) == 0
    # The beaten point (3, .6) is 1/3 of the cost span and .2 of the quality span from (2, .7).
    assert pareto_distance(COST[[2]], QUALITY[[2]], COST, QUALITY) == pytest.approx(np.hypot(1 / 3, 0.1 / 0.5))
    assert np.isnan(pareto_distance(COST[:0], QUALITY[:0], COST, QUALITY))
    assert np.isnan(pareto_distance(COST, QUALITY, COST, np.ones(4)))
