"""The head of stage 1: asked for by name, or the best on prompts it was not fitted on; on disk as in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointsman.routers.artifacts import load_router, save_router
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.estimators.quality import BlendWeights
from pointsman.routers.training import classify
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.fit import _price_uncertainty, _Quality, _Stage1, fit_router
from pointsman.routers.training.stage1 import HeadChoice, HeldOutHead, choose_head
from pointsman.routers.types import RouteRequest

WORDS = {
    "law": "court contract tort plaintiff statute liable crime breach duty",
    "sea": "sail anchor tide reef keel mast harbour deck crew",
    "kitchen": "bake fry boil roast oven flour butter salt pan",
}


def data(n: int = 150, seed: int = 0) -> TrainingData:
    rng = np.random.default_rng(seed)
    labels = [list(WORDS)[at] for at in rng.integers(0, 3, n)]
    texts = [" ".join(rng.choice(WORDS[label].split(), 6)) for label in labels]
    scores = np.stack([[label == name for name in WORDS] for label in labels]).astype(float)
    return TrainingData(texts, labels, tuple(WORDS), scores)


@pytest.mark.parametrize("head", [HeadChoice.LINEAR, HeadChoice.KNN, HeadChoice.MLP])
def test_every_head_fits_saves_and_loads(head: HeadChoice, tmp_path: Path) -> None:
    parts = fit_router(data(), head=head)
    assert parts.classifier.kind == head
    save_router(tmp_path, parts)
    router, again = parts.router(), load_router(tmp_path)
    fresh = data(60, seed=1)
    right = 0
    for text, label in zip(fresh.texts, fresh.categories, strict=True):
        request = RouteRequest("id", text, 10)
        seen = router.assess(request).classification
        # kNN keeps its prompts in float16 on disk.
        assert again.assess(request).classification.posterior == pytest.approx(seen.posterior, abs=5e-3)
        right += max(seen.posterior, key=seen.posterior.__getitem__) == label
    assert right > 55


def test_auto_takes_the_head_that_a_table_asks_for() -> None:
    # Exclusive or in the vectors: only heads that bend can tell the categories apart.
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(900, 2))
    vectors = np.concatenate([signs, np.zeros((900, 6))], axis=1) + 0.3 * rng.normal(size=(900, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = classify.index_labels(["same" if a * b > 0 else "other" for a, b in signs], None)
    fold = rng.integers(0, 3, 900)
    guess = HeldOutHead(HeadChoice.LINEAR, np.full((900, 2), 0.5, np.float32), np.zeros(900, np.float32))
    found = choose_head(HeadChoice.AUTO, guess, vectors, labels, fold, seed=0)
    assert found.kind in (HeadChoice.KNN, HeadChoice.MLP)
    assert found.log_loss(labels.category) < 0.3 < guess.log_loss(labels.category)
    sure = np.eye(2, dtype=np.float32)[labels.category]
    perfect = replace(guess, posterior=sure)
    assert choose_head(HeadChoice.AUTO, perfect, vectors, labels, fold, seed=0) is perfect


def test_heads_are_judged_on_prompts_they_were_not_fitted_on() -> None:
    # Labels by lot: a head that had seen them would remember; held out, none is better than the base rate.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = classify.index_labels([str(which) for which in rng.integers(0, 2, 600)], None)
    fold = rng.integers(0, 3, 600)
    even = HeldOutHead(HeadChoice.LINEAR, np.full((600, 2), 0.5, np.float32), np.zeros(600, np.float32))
    for head in (HeadChoice.KNN, HeadChoice.MLP):
        held = choose_head(head, even, vectors, labels, fold, seed=0)
        assert held.log_loss(labels.category) > np.log(2) - 0.01
    assert choose_head(HeadChoice.AUTO, even, vectors, labels, fold, seed=0) is even


def test_the_uncertain_category_goes_by_outcomes_where_they_decide() -> None:
    rng = np.random.default_rng(0)
    entropy = rng.uniform(0.0, 1.0, 1000)
    given = Thresholds(max_entropy=0.8, min_scope=-1.0)
    stage1 = _Stage1(given, np.zeros((1000, 2), np.float32), entropy, {})

    def fit(routed: np.ndarray) -> _Quality:
        return _Quality(
            base=np.zeros(2, np.float32),
            weights=BlendWeights(),
            category=None,
            ridge=None,
            metrics={},
            held=np.zeros((1000, 2)),
            rows=np.arange(1000),
            routed=routed,
            single=np.full(1000, 0.5),
        )

    blurred = _price_uncertainty(stage1, fit((entropy < 0.4).astype(float)))
    assert blurred.max_entropy == pytest.approx(0.4, abs=0.06)
    assert blurred.min_scope == given.min_scope
    assert _price_uncertainty(stage1, fit(np.full(1000, 0.9))) == given
