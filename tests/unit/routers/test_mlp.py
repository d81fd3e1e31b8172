"""The classifier with one hidden layer: what no linear head can tell apart, and the same figures from disk."""

from __future__ import annotations

import numpy as np
import pytest

from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.mlp import MlpClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.training.mlp import fit_mlp
from pointsman.routers.training.softmax import fit_softmax

LOOSE = Thresholds(max_entropy=10.0, min_scope=-1e9)


def either_or(n: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Exclusive or of two signs, with noise columns: not linearly separable."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(n, 2))
    vectors = np.concatenate([signs, np.zeros((n, 6))], axis=1) + 0.3 * rng.normal(size=(n, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), (signs[:, 0] * signs[:, 1] > 0).astype(np.int64)


def fitted(classes: int = 2) -> MlpClassifier:
    vectors, labels = either_or()
    found = fit_mlp(vectors, labels, classes)
    return MlpClassifier(
        found.hidden,
        found.hidden_bias,
        LinearClassifier(
            [f"c{index}" for index in range(classes)],
            found.weights,
            found.bias,
            np.arange(classes),
            temperature=1.3,
            thresholds=LOOSE,
        ),
    )


def test_it_tells_apart_what_a_linear_head_cannot():
    vectors, labels = either_or(seed=1)
    train, truth = either_or()
    weights, _, bias = fit_softmax(train, None, truth, 2, c=10.0)
    linear = ((vectors @ weights.T + bias).argmax(axis=1) == labels).mean()
    posterior, _ = fitted().posteriors(vectors)
    assert linear < 0.65
    assert (posterior.argmax(axis=1) == labels).mean() > 0.95


def test_one_prompt_is_classified_as_a_batch_is():
    vectors, _ = either_or(20, seed=2)
    classifier = fitted()
    posterior, _ = classifier.posteriors(vectors)
    for vector, row in zip(vectors, posterior, strict=True):
        assert list(classifier.classify(vector).posterior.values()) == pytest.approx(row.tolist(), abs=1e-6)


def test_numpy_forward_equals_the_fitted_model():
    from sklearn.neural_network import MLPClassifier

    from pointsman.routers.training import mlp

    vectors, _ = either_or(300)
    labels = np.random.default_rng(3).integers(0, 4, 300)
    found = fit_mlp(vectors, labels, 4, epochs=5)
    model = MLPClassifier(
        (mlp.HIDDEN,), alpha=mlp.PENALTY, batch_size=256, learning_rate_init=3e-3, max_iter=5, random_state=0
    )
    with pytest.warns(match="Maximum iterations"):
        model.fit(vectors, labels)
    logits = found.logits(vectors)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert softmax == pytest.approx(model.predict_proba(vectors), abs=1e-5)


def test_a_class_without_examples_is_never_chosen():
    vectors, _ = either_or()
    posterior, _ = fitted(classes=3).posteriors(vectors)
    assert posterior[:, 2].max() < 1e-6
    assert posterior.sum(axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)


def test_it_comes_back_from_its_parts():
    vectors, _ = either_or(20)
    classifier = fitted()
    again = MlpClassifier.from_parts(classifier.spec(), classifier.tensors())
    assert np.array_equal(again.posteriors(vectors)[0], classifier.posteriors(vectors)[0])
    assert again.spec()["kind"] == "mlp"


def test_shapes_must_fit():
    output = LinearClassifier(
        ["a", "b"], np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.arange(2), temperature=1, thresholds=LOOSE
    )
    with pytest.raises(ValueError, match="do not fit"):
        MlpClassifier(np.zeros((3, 4), np.float32), np.zeros(2, np.float32), output)
