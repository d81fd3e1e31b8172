"""RouteLLM's metrics for two experts, by hand."""

import numpy as np
import pytest

from pointsman.evals.metrics.deferral import apgr, cpt, deferral_curve, pgr


def test_curve_by_hand() -> None:
    # Four prompts, the strong expert needed on the two with the highest score.
    score = np.array([0.1, 0.2, 0.8, 0.9])
    weak, strong = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 1.0])
    share, quality = deferral_curve(score, weak, strong, bins=4)
    # Edges are the quantiles 0, 1/4, ... 1: .1, .175, .5, .825, .9. At or above them are 4, 3, 2 and 1 prompts, above
    # the last none.
    assert share.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert quality.tolist() == [0.5, 0.75, 1.0, 1.0, 1.0]


def test_beliefs_that_are_all_the_same_are_worth_a_coin_toss() -> None:
    weak, strong = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0])
    share, quality = deferral_curve(np.zeros(3), weak, strong)
    assert share.tolist() == [0.0, 1.0]
    assert apgr(share, quality, weak.mean(), strong.mean()) == pytest.approx(0.5)


def test_apgr_and_cpt_by_hand() -> None:
    share, quality = np.array([0.0, 0.5, 1.0]), np.array([0.2, 0.6, 0.7])
    # PGR is 0, .8, 1: area .2 + .45.
    assert pgr(quality, 0.2, 0.7) == pytest.approx([0.0, 0.8, 1.0])
    assert apgr(share, quality, 0.2, 0.7) == pytest.approx(0.65)
    assert cpt(share, quality, 0.2, 0.7, 0.5) == pytest.approx(0.3125)
    assert cpt(share, quality, 0.2, 0.7, 0.8) == pytest.approx(0.5)


def test_random_scores_recover_half_the_gap() -> None:
    rng = np.random.default_rng(1)
    weak, strong = (rng.random(40_000) < rate for rate in (0.5, 0.8))
    share, quality = deferral_curve(rng.random(40_000), weak.astype(float), strong.astype(float))
    assert apgr(share, quality, weak.mean(), strong.mean()) == pytest.approx(0.5, abs=0.02)
    assert cpt(share, quality, weak.mean(), strong.mean(), 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_level_never_reached_is_unknown() -> None:
    assert np.isnan(cpt(np.array([0.0, 1.0]), np.array([0.2, 0.5]), 0.2, 0.7, 0.8))
    assert np.isnan(pgr(np.array([0.5]), 0.7, 0.2)).all()
