"""Hull, AIQ and cost at quality against figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.evals.metrics.hull import aiq, cost_at_quality, non_decreasing_hull


def test_hull_by_hand() -> None:
    # (2, .4) lies below the line from (1, .2) to (3, .8); (4, .7) is dearer and worse than (3, .8).
    xs, ys = non_decreasing_hull(np.array([3.0, 1.0, 4.0, 2.0]), np.array([0.8, 0.2, 0.7, 0.4]))
    assert xs.tolist() == [1.0, 3.0]
    assert ys.tolist() == [0.2, 0.8]


def test_aiq_by_hand() -> None:
    # Rises from .2 at 1 to .8 at 3 (area 1.0), then flat at .8 up to 5 (area 1.6): 2.6 over a range of 4.
    assert aiq(np.array([1.0, 3.0]), np.array([0.2, 0.8]), 1.0, 5.0) == pytest.approx(0.65)


def test_aiq_of_a_single_point_is_its_quality() -> None:
    assert aiq(np.array([2.0]), np.array([0.7]), 1.0, 5.0) == pytest.approx(0.7)


def test_aiq_is_undefined_without_a_range() -> None:
    assert np.isnan(aiq(np.array([2.0]), np.array([0.7]), 2.0, 2.0))
    assert np.isnan(aiq(np.array([]), np.array([]), 0.0, 1.0))


def test_aiq_counts_only_the_range() -> None:
    # The hull reaches beyond the range on both sides: from .0 at 0 to 1.0 at 10, mean height over [4, 6] is .5.
    assert aiq(np.array([0.0, 10.0]), np.array([0.0, 1.0]), 4.0, 6.0) == pytest.approx(0.5)


def test_cost_at_quality_by_hand() -> None:
    cost, quality = np.array([1.0, 3.0]), np.array([0.2, 0.8])
    assert cost_at_quality(cost, quality, 0.5) == pytest.approx(2.0)
    assert cost_at_quality(cost, quality, 0.1) == pytest.approx(1.0)
    assert np.isnan(cost_at_quality(cost, quality, 0.81))


points = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=12)


@given(points)
def test_the_hull_is_above_every_point_and_concave(given_points: list[tuple[float, float]]) -> None:
    cost, quality = (np.array(side) for side in zip(*given_points, strict=True))
    xs, ys = non_decreasing_hull(cost, quality)
    assert (np.interp(cost, xs, ys) >= quality - 1e-9).all()
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) > 0).all()
    # Rising slopes would be a dent; compared crosswise, because a quotient of tiny differences overflows.
    dx, dy = np.diff(xs), np.diff(ys)
    assert (dy[1:] * dx[:-1] <= dy[:-1] * dx[1:] + 1e-12).all()


@given(points, st.tuples(st.floats(0, 10), st.floats(0, 1)))
def test_one_more_setting_never_lowers_aiq(given_points: list[tuple[float, float]], extra: tuple[float, float]) -> None:
    # As in the harness, always asking the cheapest is among the settings, so no new one is cheaper.
    base = [(0.0, 0.0), *given_points]
    before = aiq(*(np.array(side) for side in zip(*base, strict=True)), 0.0, 10.0)
    after = aiq(*(np.array(side) for side in zip(*base, extra, strict=True)), 0.0, 10.0)
    assert after >= before - 1e-9
