"""Tryage's perceptive router: an encoder that learns who is right, and embeds the same from disk as from memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pointsman.experts.spec import ExpertSpec, PoolView
from pointsman.routers.artifacts import load_router, save_router
from pointsman.routers.embed import restore_embedder
from pointsman.routers.errors import ArtifactError, EmbedderError, TrainingError
from pointsman.routers.training.data import TrainingData
from pointsman.routers.training.fine_tune import FineTunedEncoder, FineTuningRecipe, fine_tune
from pointsman.routers.training.fit import fit_router
from pointsman.routers.types import RouteRequest

WORDS = ("the", "cat", "dog", "boat", "sails", "barks", "sleeps", "over", "under", "a", "red", "blue")
COLOURS = (WORDS.index("red"), WORDS.index("blue"))

pytestmark = pytest.mark.train


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("torch", reason="needs the extra 'train'")
    pytest.importorskip("transformers", reason="needs the extra 'train'")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real BERT, two layers of sixteen, in the transformers format: as MiniLM comes, only small and untrained."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(
        WordLevel({"[PAD]": 0, "[UNK]": 1, **{word: at + 2 for at, word in enumerate(WORDS)}}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def prompts(n: int = 240, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences; the first expert is right where `red` stands, the second where `blue` does, the third by luck."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 2, n)
    texts = []
    for which in colour:
        words = [WORDS[at] for at in rng.integers(0, 10, rng.integers(3, 12))]
        words.insert(int(rng.integers(0, len(words))), WORDS[COLOURS[which]])
        texts.append(" ".join(words))
    scores = np.stack([colour == 0, colour == 1, rng.random(n) < 0.5], axis=1).astype(float)
    return texts, scores


def recipe(base: Path, **changes: object) -> FineTuningRecipe:
    given = {"base": str(base), "epochs": 12, "max_tokens": 16, "frozen_layers": 0, "encoder_rate": 3e-3}
    return FineTuningRecipe(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tuned(base: Path) -> FineTunedEncoder:
    texts, scores = prompts()
    return fine_tune(texts, scores, recipe(base), device="cpu")


def test_it_learns_who_is_right(tuned: FineTunedEncoder) -> None:
    texts, scores = prompts(seed=1)
    predicted = tuned.predict(tuned.embedder.embed(texts))
    assert tuned.losses[-1] < 0.6 * tuned.losses[0]
    for expert in (0, 1):
        assert ((predicted[:, expert] > 0.5) == (scores[:, expert] == 1)).mean() > 0.95
    # Nothing can be known of the third, and it says so.
    assert np.abs(predicted[:, 2] - 0.5).mean() < 0.2


def test_vectors_are_of_unit_length_and_do_not_depend_on_their_batch(tuned: FineTunedEncoder) -> None:
    texts, _ = prompts(100, seed=2)
    together = tuned.embedder.embed(texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    assert np.concatenate([tuned.embedder.embed([text]) for text in texts[:5]]) == pytest.approx(together[:5], abs=1e-5)


def test_a_saved_encoder_embeds_as_before(tuned: FineTunedEncoder) -> None:
    texts, _ = prompts(10, seed=3)
    embedder = tuned.embedder
    spec = json.loads(json.dumps(dict(embedder.spec())))
    again = restore_embedder(spec, embedder.tensors(), embedder.tokenizer_json())
    assert np.array_equal(again.embed(texts), embedder.embed(texts))


def test_frozen_layers_and_the_token_embedding_stay(base: Path) -> None:
    from safetensors.numpy import load_file

    texts, scores = prompts(64)
    found = fine_tune(texts, scores, recipe(base, epochs=1, frozen_layers=1), device="cpu")
    before = load_file(base / "model.safetensors")
    after = found.embedder.tensors()
    moved = {
        name.removeprefix("embed.encoder.")
        for name, value in after.items()
        if not np.array_equal(value, before[name.removeprefix("embed.encoder.")].astype(np.float16))
    }
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


def test_a_sparse_table_trains_every_head_on_its_own_cells(base: Path) -> None:
    texts, scores = prompts(400)
    scores[:200, 0] = np.nan
    scores[200:, 1] = np.nan
    found = fine_tune(texts, scores, recipe(base), device="cpu")
    fresh, truth = prompts(seed=1)
    predicted = found.predict(found.embedder.embed(fresh))
    for expert in (0, 1):
        assert ((predicted[:, expert] > 0.5) == (truth[:, expert] == 1)).mean() > 0.9


def test_the_same_seed_gives_the_same_encoder(base: Path) -> None:
    texts, scores = prompts(64)
    first, second = (fine_tune(texts, scores, recipe(base, epochs=1), device="cpu") for _ in range(2))
    assert np.array_equal(first.embedder.embed(texts), second.embedder.embed(texts))


def test_a_router_is_fitted_saved_and_loaded_with_it(tuned: FineTunedEncoder, tmp_path: Path) -> None:
    texts, scores = prompts()
    data = TrainingData(
        texts=texts,
        categories=["red" if row[0] else "blue" for row in scores],
        experts=("reds", "blues", "luck"),
        scores=scores,
    )
    save_router(tmp_path, fit_router(data, embedder=tuned.embedder))
    router = load_router(tmp_path)
    view = PoolView.of(*(ExpertSpec(name, "fake", name) for name in data.experts))
    assert router.slow
    fresh, truth = prompts(60, seed=4)
    chosen = [router.decide(RouteRequest("id", text, 10), view).expert for text in fresh]
    wanted = ["reds" if row[0] else "blues" for row in truth]
    assert np.mean([a == b for a, b in zip(chosen, wanted, strict=True)]) > 0.9


def test_without_outcomes_there_is_nothing_to_learn(base: Path) -> None:
    with pytest.raises(TrainingError, match="no prompt has any"):
        fine_tune(["the cat"], np.full((1, 2), np.nan), recipe(base))


def test_weights_of_another_shape_are_refused(tuned: FineTunedEncoder, tmp_path: Path) -> None:
    embedder = tuned.embedder
    spec = dict(embedder.spec())
    spec["config"] = {**spec["config"], "hidden_size": 32}
    with pytest.raises(EmbedderError, match="do not fit"):
        restore_embedder(spec, embedder.tensors(), embedder.tokenizer_json())
    with pytest.raises(EmbedderError, match=r"needs its tokenizer\.json"):
        restore_embedder(embedder.spec(), embedder.tensors(), None)
    with pytest.raises(ArtifactError):
        load_router(tmp_path / "absent")


def test_a_base_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="cannot fine-tune"):
        fine_tune(["the cat"], np.ones((1, 1)), FineTuningRecipe(base=str(tmp_path / "absent")))
