"""Fitting: what is there to learn is learned, nothing is filled in, and the same seed gives the same router."""

from dataclasses import replace

import numpy as np
import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import RouterParts
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed.prompt_features import FEATURES, FormatEmbedder, prompt_features
from pointsman.routers.errors import TrainingError
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights
from pointsman.routers.training import classify, heads
from pointsman.routers.training.bags import count_tokens, inverse_document_frequency, tfidf
from pointsman.routers.training.fit import fit_router, linear_heads
from pointsman.routers.training.folds import fold_of
from pointsman.routers.training.lengths import fit_lengths
from pointsman.routers.training.metrics import auroc, expected_calibration_error, routed_quality, selection_accuracy
from pointsman.routers.training.ridge import PromptFeatures, fit_ridges
from pointsman.routers.training.softmax import fit_softmax
from pointsman.routers.types import RouteRequest
from tests.unit.routers.tiny import EXPERTS, tiny_data, tiny_embedder

QUESTIONS = {
    "coder": ("a python function with a bug", "import the class"),
    "solver": ("what is the sum", "divide a number, percent please"),
    "allround": ("soup recipe", "how to bake bread in the oven"),
}


@pytest.fixture(scope="module")
def parts() -> RouterParts:
    return fit_router(tiny_data(), embedder=tiny_embedder(), max_iter=20)


def choose(parts: RouterParts, text: str) -> str | None:
    view = PoolView.of(*(ExpertSpec(name, "fake", name) for name in EXPERTS))
    return parts.router().decide(RouteRequest("r", text, 5), view).expert


@pytest.mark.parametrize(("expert", "text"), [(e, t) for e, texts in QUESTIONS.items() for t in texts])
def test_each_topic_reaches_its_expert(parts: RouterParts, expert: str, text: str):
    assert choose(parts, text) == expert


def test_the_router_beats_the_best_single_out_of_fold(parts: RouterParts):
    figures = parts.metrics["routing"]
    assert figures["routed_quality"] > figures["best_single_quality"] + 0.1
    assert figures["routed_quality"] <= figures["oracle_quality"]
    assert figures["selection_accuracy"] > 0.9


def test_the_same_seed_gives_the_same_router(parts: RouterParts):
    again = fit_router(tiny_data(), embedder=tiny_embedder(), max_iter=20)
    assert again.router().artifact_hash == parts.router().artifact_hash


def test_another_seed_gives_another_router(parts: RouterParts):
    other = fit_router(tiny_data(), embedder=tiny_embedder(), max_iter=20, seed=1)
    assert other.router().artifact_hash != parts.router().artifact_hash


def test_without_labels_the_categories_are_clusters():
    found = fit_router(tiny_data(labelled=False), embedder=tiny_embedder(), max_iter=20)
    assert all(name.startswith("cluster-") for name in found.classifier.categories)
    assert found.training["labels"] == "k-means clusters"
    assert choose(found, "a python function with a bug") == "coder"


def test_one_label_for_all_tells_nothing_apart():
    one = replace(tiny_data(), categories=["trivia"] * 360)
    found = fit_router(one, embedder=tiny_embedder(), max_iter=20)
    assert all(name.startswith("cluster-") for name in found.classifier.categories)
    assert choose(found, "a python function with a bug") == "coder"


@pytest.mark.parametrize("seed", range(8))
def test_thirty_prompts_of_noise_fall_back_to_the_best_single(seed: int):
    data = tiny_data(30)
    noise = np.random.default_rng(seed).random(data.scores.shape)
    found = fit_router(replace(data, scores=noise), embedder=tiny_embedder(), max_iter=20)
    best = EXPERTS[int(noise.mean(axis=0).argmax())]
    texts = [text for texts in QUESTIONS.values() for text in texts]
    assert [choose(found, text) for text in texts] == [best] * 6


def test_random_scores_fall_back_to_the_best_single():
    data = tiny_data(900)
    rng = np.random.default_rng(3)
    noise = np.clip(rng.normal([0.5, 0.6, 0.4], 0.2, size=data.scores.shape), 0, 1)
    found = fit_router(replace(data, scores=noise), embedder=tiny_embedder(), max_iter=20)
    assert [choose(found, text) for texts in QUESTIONS.values() for text in texts] == ["solver"] * 6


def test_sparse_scores_are_not_filled_in():
    data = tiny_data()
    scores = data.scores.copy()
    scores[::2, 0] = np.nan
    scores[1::4, 2] = np.nan
    found = fit_router(replace(data, scores=scores), embedder=tiny_embedder(), max_iter=20)
    assert found.training["scored_prompts_per_expert"] == {"coder": 180, "solver": 360, "allround": 270}
    assert choose(found, "a python function with a bug") == "coder"


def test_a_category_without_outcomes_is_known_and_unmeasured():
    data = tiny_data()
    scores = data.scores.copy()
    scores[2::3] = np.nan
    found = fit_router(replace(data, scores=scores), embedder=tiny_embedder(), max_iter=20)
    food = found.router().assess(RouteRequest("r", "soup recipe bread oven", 5)).classification
    assert (food.category, food.uncertain, food.unmeasured) == ("food", False, True)
    assert not found.router().assess(RouteRequest("r", "python function bug", 5)).classification.uncertain


def test_out_of_scope_prompts_set_the_threshold():
    data = tiny_data()
    strange = [f"the a how is what {index}" for index in range(60)]
    mixed = replace(
        data,
        texts=[*data.texts, *strange],
        categories=[*data.categories, *[None] * 60],
        scores=np.vstack([data.scores, np.full((60, 3), np.nan)]),
        completion_tokens=None,
        out_of_scope=np.array([False] * 360 + [True] * 60),
    )
    found = fit_router(mixed, embedder=tiny_embedder(), max_iter=20)
    assert found.metrics["classifier"]["out_of_scope_auroc"] > 0.9
    router = found.router()
    assert router.assess(RouteRequest("r", "what is the a how to", 5)).classification.out_of_scope
    assert not router.assess(RouteRequest("r", "python class import loop", 5)).classification.out_of_scope


def test_progress_runs_from_start_to_end():
    seen: list[float] = []
    fit_router(tiny_data(), embedder=tiny_embedder(), max_iter=5, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.zeros((3, 3))}, "scores have shape"),
        ({"scores": np.full((360, 3), 2.0)}, "outside"),
        ({"scores": np.full((360, 3), np.nan)}, "no score at all for coder"),
        ({"categories": ["one"]}, "1 entries for 360 prompts"),
        ({"experts": ("coder", "coder", "allround")}, "named twice"),
        ({"texts": [], "categories": [], "scores": np.empty((0, 3))}, "no prompt"),
    ],
)
def test_what_cannot_train_says_why(changes, message):
    with pytest.raises(TrainingError, match=message):
        fit_router(replace(tiny_data(), **changes), embedder=tiny_embedder(), max_iter=2)


def test_the_softmax_fit_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is an extra")
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    dense = rng.normal(size=(200, 3)).astype(np.float32)
    sparse = csr_matrix((rng.random((200, 5)) > 0.7).astype(np.float32))
    labels = (dense[:, 0] + sparse.toarray()[:, 1] > 0.3).astype(np.int64) + (dense[:, 1] > 0.5)
    w, b, bias = fit_softmax(dense, sparse, labels, 3, c=2.0, max_iter=500)
    features = np.hstack([dense, sparse.toarray()])
    theirs = linear_model.LogisticRegression(C=2.0, max_iter=1000, tol=1e-8).fit(features, labels)
    ours = features @ np.hstack([w, b]).T + bias
    expected = features @ theirs.coef_.T + theirs.intercept_
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=0.02
    )


def test_the_run_time_embedder_scores_as_the_fit_did(parts: RouterParts):
    data, embedder = tiny_data(), tiny_embedder()
    features = classify.Features.of(embedder, data.texts)
    labels = classify.index_labels(data.categories, None)
    fitted = classify.fit_logits(features, np.arange(len(data)), labels.fine, 3, max_iter=20)
    expected = fitted.logits(features, np.arange(len(data)))
    runtime, classifier = classify.assemble(fitted, embedder, labels, 1.0, parts.classifier.thresholds)
    tensors = classifier.tensors()
    found = runtime.embed(data.texts) @ tensors["classifier.weights"].T + tensors["classifier.bias"]
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_the_run_time_heads_predict_as_the_regression_did():
    data, embedder = tiny_data(), tiny_embedder()
    features = classify.Features.of(embedder, data.texts)
    labels = classify.index_labels(data.categories, None)
    fitted = classify.fit_logits(features, np.arange(len(data)), labels.fine, 3, max_iter=20)
    bounds = np.full(FEATURES, -3, np.float32), np.full(FEATURES, 3, np.float32)
    figures = np.array([prompt_features(text) for text in data.texts]).clip(*bounds)
    posterior = np.eye(3, dtype=np.float32)[labels.fine]
    prompts = PromptFeatures(features.vectors, figures, posterior, fitted.bags(features))
    (ridge,) = fit_ridges(prompts, data.scores, [1.0])
    more, heads_ = linear_heads(ridge, prompts, fitted)
    assert more is not None
    runtime, classifier = classify.assemble(fitted, embedder, labels, 1.0, Thresholds(1e9, -1e9), more)
    quality = BlendedQuality(
        EXPERTS, labels.categories, np.zeros(3, np.float32), BlendWeights(linear=1.0), linear=heads_
    )
    vectors = FormatEmbedder(runtime, *bounds).embed(data.texts)
    np.testing.assert_allclose(quality.predict(vectors, posterior), ridge.predict(prompts).clip(0.0, 1.0), atol=0.01)
    logits = fitted.logits(features, np.arange(len(data)))
    assert (classifier.posteriors(vectors)[0].argmax(1) == logits.argmax(1)).mean() > 0.99


def test_tfidf_by_hand():
    counts = count_tokens([[1, 1, 2], [2], [3]], 5)
    idf = inverse_document_frequency(counts)
    assert idf.tolist() == pytest.approx([0.0, 0.0, np.log(4 / 3) + 1, 0.0, 0.0])
    assert tfidf(counts, np.ones(5, np.float32)).toarray()[0] == pytest.approx(
        np.array([0, 1 + np.log(2), 1, 0, 0]) / np.hypot(1 + np.log(2), 1)
    )


def test_folds_keep_equal_texts_together():
    folds = fold_of(["A  b", "a b", "c", "A B "], 3, seed=0)
    assert folds[0] == folds[1] == folds[3]


def test_the_blend_trusts_what_tells_experts_apart():
    rng = np.random.default_rng(0)
    better, noise = rng.normal(0, 0.2, size=(2, 2000, 1))
    apart, hard = np.hstack([better, -better]), np.hstack([noise, noise])
    base = np.full((2000, 2), 0.5)
    scores = base + apart + hard + rng.normal(0, 0.1, size=base.shape)
    weights = heads.choose_blend(base, [base + apart, base + hard, base + rng.normal(size=base.shape)], scores)
    # How hard a prompt is for both decides nothing, however well a view knows it.
    assert weights[0] == pytest.approx(1.0, abs=0.02)
    assert weights[1:].max() < 0.02


def test_the_blend_reads_single_scores_where_no_prompt_has_two():
    rng = np.random.default_rng(0)
    view = 0.5 + rng.normal(0, 0.2, size=(2000, 2))
    scores = view.copy()
    scores[::2, 0] = scores[1::2, 1] = np.nan
    assert heads.choose_blend(np.full((2000, 2), 0.5), [view], scores)[0] == pytest.approx(1.0, abs=0.01)


def test_category_means_are_drawn_to_the_overall_mean():
    scores = np.array([[1.0], [1.0], [0.0], [0.0]])
    membership = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    means = heads.fit_category_means(scores, membership)
    drawn = (2 + heads.SHRINKAGE * 0.5) / (2 + heads.SHRINKAGE)
    assert means.mean.ravel().tolist() == pytest.approx([drawn, 1 - drawn])


def test_lengths_hold_their_quantile():
    rng = np.random.default_rng(0)
    tokens = rng.lognormal(4, 1, size=(2000, 1))
    category = np.arange(2000) % 2
    posterior = np.full((2000, 2), 0.5, dtype=np.float32)
    _, high = fit_lengths(tokens, category, posterior)
    assert (tokens[:, 0] <= posterior @ high[0]).mean() >= 0.95


def test_lengths_hold_on_answers_not_seen():
    rng = np.random.default_rng(0)
    category = rng.integers(0, 2, size=8000)
    tokens = rng.lognormal(np.array([3.0, 6.0])[category], 0.7)[:, None]
    # Sure of the category three times of four, and right as often as it is sure.
    told = np.where(rng.random(8000) < 0.75, category, 1 - category)
    posterior = np.where(told[:, None] == np.arange(2), 0.75, 0.25).astype(np.float32)
    _, high = fit_lengths(tokens[:4000], category[:4000], posterior[:4000])
    predicted = posterior[4000:] @ high[0]
    assert (tokens[4000:, 0] <= predicted).mean() == pytest.approx(0.95, abs=0.015)
    # A bound that holds by being the longest answer of all is of no use.
    assert predicted.min() < 0.6 * predicted.max()


def test_metrics_by_hand():
    assert auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 4)
    assert np.isnan(auroc(np.empty(0), np.array([1.0])))
    assert expected_calibration_error(np.array([0.95, 0.95]), np.array([True, False])) == pytest.approx(0.45)
    predicted = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert routed_quality(predicted, np.array([[1.0, 0.0], [1.0, np.nan]])) == 1.0
    assert selection_accuracy(predicted, np.array([[1.0, 0.0], [1.0, 0.0]])) == 0.5
