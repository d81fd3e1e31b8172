"""Selection accuracy, regret and quality against values worked out by hand."""

import numpy as np
import pytest

from pointsman.evals.metrics.quality import by_label, coverage, gap_closed, mean_known
from pointsman.evals.metrics.selection import (
    best_scores,
    one_hot,
    picked_a_best,
    picked_the_only_best,
    picked_values,
    regrets,
)

NAN = float("nan")
# Rows: a tie of two, one single best, nobody right, everybody right.
SCORES = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=float)


def test_a_tie_counts_as_picked_best() -> None:
    mix = one_hot(np.array([1, 0, 2, 0]), 3)
    assert picked_a_best(SCORES, mix).tolist() == [1, 0, 1, 1]
    assert regrets(SCORES, mix).tolist() == [0, 1, 0, 0]
    assert picked_values(SCORES, mix).tolist() == [1, 0, 0, 1]


def test_strict_counts_only_prompts_with_a_single_best() -> None:
    strict = picked_the_only_best(SCORES, one_hot(np.array([1, 2, 2, 0]), 3))
    assert np.isnan(strict).tolist() == [True, False, True, True]
    assert strict[1] == 1


def test_random_is_measured_by_its_expected_value() -> None:
    mix = np.full((4, 3), 1 / 3)
    assert picked_values(SCORES, mix) == pytest.approx([2 / 3, 1 / 3, 0, 1])
    assert picked_a_best(SCORES, mix) == pytest.approx([2 / 3, 1 / 3, 1, 1])
    assert mean_known(picked_the_only_best(SCORES, mix)) == pytest.approx(1 / 3)


def test_an_unscored_pick_is_unknown_and_never_zero() -> None:
    scores = np.array([[NAN, 1.0], [NAN, NAN], [0.5, 0.25]])
    assert np.isnan(picked_values(scores, one_hot(np.array([0, 0, 0]), 2))).tolist() == [True, True, False]
    assert best_scores(scores)[[0, 2]].tolist() == [1.0, 0.5]
    assert np.isnan(best_scores(scores)[1])
    # A coin toss between a scored and an unscored expert is worth the scored one.
    assert picked_values(scores, np.full((3, 2), 0.5))[0] == 1.0
    assert coverage(picked_values(scores, one_hot(np.array([0, 1, -1]), 2))) == 0.0


def test_no_pick_is_unknown() -> None:
    mix = one_hot(np.array([-1, 0]), 3)
    assert np.isnan(picked_values(SCORES[:2], mix)).tolist() == [True, False]
    assert np.isnan(picked_a_best(SCORES[:2], mix)).tolist() == [True, False]


def test_gap_closed_by_hand() -> None:
    assert gap_closed(np.array(0.75), np.array(0.5), np.array(1.0)) == pytest.approx(0.5)
    assert gap_closed(np.array(0.25), np.array(0.5), np.array(1.0)) == pytest.approx(-0.5)
    assert np.isnan(gap_closed(np.array(0.5), np.array(0.5), np.array(0.5)))


def test_by_label_leaves_unknown_out() -> None:
    means = by_label(np.array([1.0, 0.0, NAN, NAN]), ["b", "b", "b", "a"])
    assert means["b"] == 0.5
    assert np.isnan(means["a"])
    assert list(means) == ["a", "b"]
