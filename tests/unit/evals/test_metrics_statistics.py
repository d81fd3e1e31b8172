"""Calibration, corrected comparisons, budgets and flips by hand."""

import numpy as np
import pytest

from pointsman.evals.metrics.budgets import average_excess, cap_adherence
from pointsman.evals.metrics.calibration import brier, expected_calibration_error, reliability
from pointsman.evals.metrics.deferral import calls_for_quality
from pointsman.evals.metrics.multiplicity import bootstrap_p, holm
from pointsman.evals.metrics.robustness import flip_rate
from pointsman.evals.metrics.selection import one_hot, right_where_few_are

NAN = float("nan")


def test_calibration_by_hand() -> None:
    predicted = np.array([0.05, 0.15, 0.15, 0.95, 1.0, NAN, 0.5])
    outcome = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, NAN])
    assert brier(predicted, outcome) == pytest.approx((0.0025 + 0.0225 + 0.7225 + 0.0025 + 1.0) / 5)
    bins = reliability(predicted, outcome)
    assert [one.count for one in bins] == [1, 2, 2]
    assert bins[1].observed == 0.5
    assert bins[2].predicted == pytest.approx(0.975)
    assert expected_calibration_error(bins) == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.475) / 5)
    assert np.isnan(brier(predicted[5:], outcome[5:]))
    assert np.isnan(expected_calibration_error(()))


def test_holm_by_hand() -> None:
    # Sorted .01, .03, .04 become .03, .06, .06 (never falling); the undefined one does not count.
    assert holm([0.04, 0.01, NAN, 0.03]) == pytest.approx([0.06, 0.03, NAN, 0.06], nan_ok=True)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_bootstrap_p_is_two_sided_and_never_zero() -> None:
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(99)) == 1
    samples = np.concatenate([np.full(24, -1.0), np.full(975, 1.0), [NAN]])
    assert bootstrap_p(samples) == pytest.approx(2 * 25 / 1000)
    assert np.isnan(bootstrap_p(np.array([NAN])))


def test_p_values_of_no_difference_are_uniform() -> None:
    rng = np.random.default_rng(3)
    p = []
    for _ in range(300):
        data = rng.normal(size=60)
        p.append(bootstrap_p(data[rng.integers(0, 60, (400, 60))].mean(axis=1)))
    # Five per cent of true nulls are called different, give or take the noise of 300 trials.
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10


def test_recall_where_few_are_right() -> None:
    scores = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0.4, 0.6, NAN]], dtype=float)
    picks = one_hot(np.array([0, 2, 0, 0, 1]), 3)
    assert right_where_few_are(scores, picks).tolist() == pytest.approx([1, 0, NAN, NAN, NAN], nan_ok=True)
    assert right_where_few_are(scores, picks, few=1).tolist() == pytest.approx([1, NAN, NAN, NAN, 1], nan_ok=True)


def test_budgets() -> None:
    spent = np.array([1.0, 3.0, 2.5, NAN, 2.0])
    found = cap_adherence(spent, 2.0, np.array([True, True, False, True, True]))
    assert (found.over, found.avoidable) == (0.5, 0.25)
    assert found.mean_excess == pytest.approx((0.5 + 0.25) / 2)
    assert cap_adherence(spent, 9.0, np.ones(5, dtype=bool)).mean_excess == 0
    assert np.isnan(cap_adherence(spent[3:4], 9.0, np.ones(1, dtype=bool)).over)
    assert average_excess(spent, 2.0) == pytest.approx(8.5 / 4 / 2 - 1)


def test_flips() -> None:
    assert flip_rate(np.array([0, 1, 2, -1]), np.array([0, 2, 2, 1])) == pytest.approx(1 / 3)
    assert np.isnan(flip_rate(np.array([-1]), np.array([0])))


def test_calls_for_a_quality() -> None:
    share, quality = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.6, 0.7])
    assert calls_for_quality(share, quality, 0.665) == pytest.approx(0.825)
    assert calls_for_quality(share, quality, 0.1) == 0
    assert np.isnan(calls_for_quality(share, quality, 0.8))
