"""Hypervolume and R2, against figures worked by hand and against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.evals.metrics.hypervolume import hypervolume, r2_indicator

ZERO2, ZERO3 = np.zeros(2), np.zeros(3)


def test_two_dimensions_by_hand() -> None:
    # A staircase: 1 x 3, then 1 x 2 more, then 1 x 1 more.
    front = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert hypervolume(front, ZERO2) == pytest.approx(6.0)
    dominated = np.vstack([front, [[1.5, 1.5], [1.0, 3.0]]])
    assert hypervolume(dominated, ZERO2) == pytest.approx(6.0)
    assert hypervolume(front, np.array([1.0, 1.0])) == pytest.approx(1.0)
    assert hypervolume(front, np.array([3.0, 0.0])) == 0.0
    assert hypervolume(np.zeros((0, 2)), ZERO2) == 0.0


def test_three_dimensions_by_hand() -> None:
    assert hypervolume(np.array([[2.0, 3.0, 4.0]]), ZERO3) == pytest.approx(24.0)
    # 2*1*1 and 1*2*1 and 1*1*2 share the unit cube: 1 + 1 + 1 + 1.
    corners = np.array([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]])
    assert hypervolume(corners, ZERO3) == pytest.approx(4.0)
    assert hypervolume(np.array([[2.0, 2.0, 1.0], [1.0, 1.0, 2.0]]), ZERO3) == pytest.approx(5.0)


_POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=7)


@given(_POINTS)
def test_equals_counting_unit_cubes(points: list[tuple[int, int, int]]) -> None:
    cells = np.stack(np.meshgrid(*[np.arange(6) + 1] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    at = np.array(points, dtype=np.float64)
    counted = (cells[:, None, :] <= at[None, :, :]).all(axis=2).any(axis=1).sum()
    assert hypervolume(at, ZERO3) == pytest.approx(float(counted))
    flat = (cells[:36, None, 1:] <= at[None, :, 1:]).all(axis=2).any(axis=1).sum()
    assert hypervolume(at[:, 1:], ZERO2) == pytest.approx(float(flat))


def test_r2_by_hand() -> None:
    utopia = np.array([1.0, 1.0])
    corner = np.array([[1.0, 0.0]])
    wishes = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    # The corner falls short by 1 in the second objective alone.
    assert r2_indicator(corner, wishes, utopia) == pytest.approx((0.0 + 0.5 + 1.0) / 3)
    both = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert r2_indicator(both, wishes, utopia) == pytest.approx((0.0 + 0.5 + 0.0) / 3)
    assert r2_indicator(utopia[None, :], wishes, utopia) == 0.0


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        hypervolume(np.zeros((2, 4)), np.zeros(4))
