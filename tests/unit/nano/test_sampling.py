"""Choosing a token: greedy, nucleus, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from pointsman.experts.embedded.sampling import Sampling, choose

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def drawn(sampling: Sampling, times: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(sampling.seed)
    counts = np.bincount([choose(LOGITS, sampling, rng) for _ in range(times)], minlength=4)
    return counts / times


def test_temperature_zero_takes_the_likeliest() -> None:
    assert drawn(Sampling(0.0, 1.0, seed=1), 20)[0] == 1


def test_temperature_one_follows_the_probabilities() -> None:
    assert drawn(Sampling(1.0, 1.0, seed=1)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_a_low_temperature_sharpens() -> None:
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    assert drawn(Sampling(0.5, 1.0, seed=1)) == pytest.approx(squared / squared.sum(), abs=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(1e-6, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (0.999, 4)])
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p: float, kept: int) -> None:
    shares = drawn(Sampling(1.0, top_p, seed=2))
    assert np.count_nonzero(shares) == kept
    whole = np.array([0.5, 0.3, 0.15, 0.05])[:kept]
    assert shares[:kept] == pytest.approx(whole / whole.sum(), abs=0.03)


def test_top_k_keeps_the_k_likeliest() -> None:
    assert np.count_nonzero(drawn(Sampling(1.0, 1.0, top_k=2, seed=3))) == 2


def test_the_same_seed_draws_the_same() -> None:
    first, second = (
        [choose(LOGITS, Sampling(1.0, 0.95), rng) for _ in range(50)]
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert first == second
