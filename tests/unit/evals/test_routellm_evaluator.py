"""RouteLLM's own evaluator and ours say the same of the same beliefs."""

import os

import numpy as np
import pytest

from pointsman.evals.metrics.deferral import apgr, cpt, deferral_curve
from pointsman.evals.public_routers.routellm import judge, random_beliefs

COUNT = 3000


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    try:
        random_beliefs(1)
    except ImportError as error:
        pytest.skip(f"RouteLLM's evaluator cannot run: {error} (extra `peers`)")


@pytest.fixture(scope="module")
def outcomes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difficulty, and whether the weak and the strong expert are right."""
    rng = np.random.default_rng(3)
    difficulty = rng.random(COUNT)
    weak, strong = (rng.random(COUNT) < 1 - slope * difficulty for slope in (0.8, 0.3))
    return difficulty, weak.astype(float), strong.astype(float)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_the_same_figures(outcomes: tuple[np.ndarray, np.ndarray, np.ndarray], noise: float) -> None:
    difficulty, weak, strong = outcomes
    belief = difficulty + noise * np.random.default_rng(4).random(COUNT)
    theirs = judge({"ours": belief}, weak, strong)["ours"]
    share, quality = deferral_curve(belief, weak, strong)
    limits = float(weak.mean()), float(strong.mean())
    assert apgr(share, quality, *limits) == pytest.approx(theirs.apgr, abs=1e-12)
    assert (np.diff(quality) > 0).all(), "where quality falls again, the package's interpolation means nothing"
    assert cpt(share, quality, *limits, 0.5) == pytest.approx(theirs.cpt50, abs=5.1e-5)
    assert cpt(share, quality, *limits, 0.8) == pytest.approx(theirs.cpt80, abs=5.1e-5)


def test_several_at_once_and_ties_are_refused(outcomes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    difficulty, weak, strong = outcomes
    found = judge({"random": random_beliefs(COUNT), "knows": difficulty, "coarse": difficulty.round()}, weak, strong)
    assert set(found) == {"random", "knows"}
    assert found["random"].apgr == pytest.approx(0.5, abs=0.05)
    assert found["knows"].apgr > found["random"].apgr
    assert judge({"coarse": difficulty.round()}, weak, strong) == {}


def test_nothing_is_left_behind(outcomes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    before = dict(os.environ)
    random_beliefs(3)
    assert dict(os.environ) == before
    assert (random_beliefs(3) == random_beliefs(3)).all()
