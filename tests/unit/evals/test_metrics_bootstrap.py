"""The bootstrap: reproducible, paired, clustered, and honest about its width."""

import numpy as np
import pytest

from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means


def _all(clusters: np.ndarray, resamples: int, seed: int, block: int = 250) -> np.ndarray:
    return np.concatenate(list(resample_counts(clusters, resamples, seed, block)))


def test_same_seed_same_resamples_whatever_the_block() -> None:
    clusters = np.arange(40)
    assert (_all(clusters, 60, 3, block=7) == _all(clusters, 60, 3, block=60)).all()
    assert (_all(clusters, 60, 3) != _all(clusters, 60, 4)).any()


def test_every_resample_draws_as_many_clusters_as_there_are() -> None:
    counts = _all(np.arange(40), 50, 0)
    assert counts.shape == (50, 40)
    assert (counts.sum(axis=1) == 40).all()


def test_near_duplicates_are_drawn_together() -> None:
    counts = _all(np.array([7, 7, 7, 9]), 50, 0)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] != counts[:, 3]).any()


def test_means_by_hand() -> None:
    counts = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    values = np.array([[1.0, 0.0, 0.5], [1.0, np.nan, 0.0]])
    means = resampled_means(values, counts)
    assert means[0] == pytest.approx([2.5 / 3, 0.0])
    assert means[1, 0] == pytest.approx(2 / 3)
    assert np.isnan(means[1, 1])


def test_the_interval_has_the_width_that_theory_gives() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    low, high = interval(resampled_means(values[None, :], _all(np.arange(2000), 2000, 1))[0])
    half = 1.96 * 2.0 / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_clusters_widen_the_interval() -> None:
    # Ten copies of each of 100 values carry the evidence of 100, not of 1,000.
    values = np.repeat(np.random.default_rng(0).normal(size=100), 10)[None, :]
    alone = interval(resampled_means(values, _all(np.arange(1000), 1000, 0))[0])
    together = interval(resampled_means(values, _all(np.repeat(np.arange(100), 10), 1000, 0))[0])
    assert together[1] - together[0] == pytest.approx(np.sqrt(10) * (alone[1] - alone[0]), rel=0.15)


def test_mostly_undefined_is_undefined() -> None:
    assert np.isnan(interval(np.array([np.nan, np.nan, 1.0]))).all()
