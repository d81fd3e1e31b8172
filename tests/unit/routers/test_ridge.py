"""The experts' regressions: scikit-learn's, expert by expert; merging and compressing change no prediction."""

import numpy as np
import pytest

from pointsman.routers.training.ridge import FIGURE_SCALE, MAX_RANK, PromptFeatures, compress, fit_ridges, merge_ridges


def prompts(count: int = 120, tokens: int = 30, seed: int = 0) -> PromptFeatures:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is an extra")
    rng = np.random.default_rng(seed)
    bags = sparse.csr_matrix((rng.random((count, tokens)) * (rng.random((count, tokens)) < 0.2)).astype(np.float32))
    return PromptFeatures(
        rng.normal(size=(count, 4)).astype(np.float32),
        (rng.normal(size=(count, 2)) * [7.0, 50.0]).astype(np.float32),
        rng.dirichlet(np.ones(3), size=count).astype(np.float32),
        bags,
    )


def sparse_scores(given: PromptFeatures, experts: int = 3) -> np.ndarray:
    rng = np.random.default_rng(1)
    scores = 0.01 * given.figures[:, [1]] + rng.random((len(given.vectors), experts))
    scores[::3, 1] = np.nan
    return scores


def test_ridge_by_hand():
    nothing = np.zeros((2, 0), dtype=np.float32)
    given = PromptFeatures(np.array([[1.0], [-1.0]], dtype=np.float32), nothing, nothing)
    (ridge,) = fit_ridges(given, np.array([[1.0], [0.0]]), [2.0])
    assert ridge.vectors.tolist() == [[pytest.approx(0.25)]]
    assert ridge.bias.tolist() == [pytest.approx(0.5)]


@pytest.mark.parametrize("words", [True, False])
def test_the_ridges_are_scikit_learns(words: bool):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is an extra")
    given = prompts() if words else PromptFeatures(prompts().vectors, prompts().figures, prompts().posterior)
    scores = sparse_scores(given)
    scaled = [given.vectors, given.figures * FIGURE_SCALE / given.figures.std(axis=0), given.posterior]
    design = np.concatenate([*scaled, given.bags.toarray()] if words else scaled, axis=1)
    penalties = [0.5, 5.0]
    for penalty, found in zip(penalties, fit_ridges(given, scores, penalties), strict=True):
        for expert in range(scores.shape[1]):
            seen = np.isfinite(scores[:, expert])
            theirs = linear_model.Ridge(penalty).fit(design[seen], scores[seen, expert])
            np.testing.assert_allclose(found.predict(given)[:, expert], theirs.predict(design), atol=4e-3)


def test_an_expert_moves_no_other():
    given = prompts()
    scores = sparse_scores(given)
    (all_three,), (alone,) = fit_ridges(given, scores, [1.0]), fit_ridges(given, scores[:, [1]], [1.0])
    np.testing.assert_allclose(all_three.predict(given)[:, [1]], alone.predict(given), atol=2e-3)


def test_merged_ridges_predict_the_mean():
    given = prompts()
    ridges = fit_ridges(given, sparse_scores(given), [1.0, 10.0])
    expected = 0.25 * ridges[0].predict(given) + 0.75 * ridges[1].predict(given)
    found = merge_ridges(ridges, np.array([0.25, 0.75])).predict(given)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_compressing_few_experts_loses_nothing():
    given = prompts()
    weights = np.random.default_rng(0).normal(size=(3, 30)).astype(np.float32)
    columns, loadings = compress(weights, given.bags)
    np.testing.assert_allclose(loadings @ columns, weights, atol=1e-5)


def test_compressing_many_experts_keeps_what_they_share():
    given = prompts()
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(40, MAX_RANK)) @ rng.normal(size=(MAX_RANK, 30))
    weights = (shared + 0.01 * rng.normal(size=shared.shape)).astype(np.float32)
    columns, loadings = compress(weights, given.bags)
    assert columns.shape == (MAX_RANK, 30)
    exact, close = given.bags @ weights.T, given.bags @ (loadings @ columns).T
    assert np.abs(exact - close).max() < 0.01 * np.abs(exact).max()
