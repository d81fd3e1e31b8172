"""Small tables on disk and small real routers for the harness's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.routers.artifacts import RouterParts
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.embed.static import StaticEmbedder, quantise_rows
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans, LinearHeads
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.two_stage import TwoStageRouter

TableWriter = Callable[..., Path]


@pytest.fixture
def write_table(tmp_path: Path) -> TableWriter:
    """Write a uniform table from columns; gives its folder."""

    def write(prompts: Mapping[str, Any], outcomes: Mapping[str, Any], name: str = "small") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(pa.table(dict(prompts)), folder / "prompts.parquet")
        pq.write_table(pa.table(dict(outcomes)), folder / "outcomes.parquet")
        return folder

    return write


def _rows_of(scores: np.ndarray, experts: Sequence[str], **columns: np.ndarray) -> dict[str, list[Any]]:
    """Outcome columns of matrices of shape (n, m); NaN scores become absent rows."""
    at = np.argwhere(np.isfinite(scores))
    return {
        "prompt_id": [f"p{i}" for i, _ in at],
        "model": [experts[j] for _, j in at],
        "score": [float(scores[i, j]) for i, j in at],
        **{name: [float(values[i, j]) for i, j in at] for name, values in columns.items()},
    }


_WORDS = {
    "code": "def return class python function loop list string compile error",
    "math": "sum product equation number solve percent total fraction many left",
    "law": "court contract tort plaintiff statute liable crime party breach duty",
}


def _synthetic(n: int = 600, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """A table where routing pays: three experts, each the best on its own subject; costs and tokens of every call."""
    rng = np.random.default_rng(seed)
    names = list(_WORDS)
    labels = [names[i] for i in rng.integers(0, 3, n)]
    texts = [" ".join(rng.choice(_WORDS[label].split(), 12)) + f" {i}" for i, label in enumerate(labels)]
    chance = {"coder": {"code": 0.9, "math": 0.4}, "reckoner": {"math": 0.85}, "lawyer": {"law": 0.9, "math": 0.45}}
    experts = sorted(chance)
    scores = np.array([[float(rng.random() < chance[e].get(label, 0.3)) for e in experts] for label in labels])
    prompt_tokens = np.array([len(text.split()) for text in texts])
    answer = rng.integers(20, 80, scores.shape).astype(float)
    price = np.array([2.0, 5.0, 1.0])
    cost = (prompt_tokens[:, None] * price + answer * 2 * price) / 1e6
    prompts = {
        "prompt_id": [f"p{i}" for i in range(n)],
        "prompt": texts,
        "dataset": ["synthetic"] * n,
        "category": labels,
        "split": ["test" if i % 3 == 0 else "train" for i in range(n)],
        "prompt_tokens_cl100k": prompt_tokens.tolist(),
    }
    return prompts, _rows_of(scores, experts, cost_usd=cost, completion_tokens_cl100k=answer)


@pytest.fixture
def table(write_table: TableWriter) -> OutcomeTable:
    """The synthetic table, read back."""
    return load_table(write_table(*_synthetic()))


def _word_embedder(texts: Sequence[str]) -> StaticEmbedder:
    """The project's static embedder over whole words, with rows nobody distilled."""
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    tokenizer = Tokenizer(WordLevel({"?": 0, **{word: i + 1 for i, word in enumerate(words)}}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    rows, scales = quantise_rows(np.random.default_rng(0).normal(size=(len(words) + 1, 32)).astype(np.float32))
    scales[0] = 0.0
    return StaticEmbedder(tokenizer, rows, scales, name="words")


def _small_parts(table: OutcomeTable, max_entropy: float = 10.0) -> RouterParts:
    """The parts of the project's own two-stage router, fitted in closed form on a table's train split."""
    train = table.split("train")
    names = sorted(set(train.categories))
    embedder = _word_embedder(train.prompts)
    vectors = embedder.embed(train.prompts)
    labels = np.array([names.index(name) for name in train.categories])
    centroids = np.stack([vectors[labels == c].mean(axis=0) for c in range(len(names))])
    means = np.stack([np.nanmean(train.scores[labels == c], axis=0) for c in range(len(names))], axis=1)
    heads = np.linalg.lstsq(np.c_[vectors, np.ones(len(vectors))], np.nan_to_num(train.scores), rcond=None)[0]
    tokens = np.tile(np.nanmean(train.completion_tokens, axis=0)[:, None], (1, len(names))).astype(np.float32)
    return RouterParts(
        name="small",
        embedder=embedder,
        classifier=LinearClassifier(
            names,
            (centroids * 8).astype(np.float32),
            np.zeros(len(names), np.float32),
            np.arange(len(names)),
            temperature=1.0,
            thresholds=Thresholds(max_entropy, 0.0),
        ),
        quality=BlendedQuality(
            train.experts,
            names,
            np.nanmean(train.scores, axis=0).astype(np.float32),
            BlendWeights(category=0.6, linear=0.3),
            category=CategoryMeans(means.astype(np.float32), np.full(means.shape, 0.02, np.float32)),
            linear=LinearHeads(heads[:-1].T.astype(np.float32), heads[-1].astype(np.float32)),
        ),
        tokens=CompletionTokens(train.experts, names, tokens, tokens * 2),
    )


@pytest.fixture
def rows_of() -> Callable[..., dict[str, list[Any]]]:
    """Matrices to outcome columns."""
    return _rows_of


@pytest.fixture
def synthetic() -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """Columns of a table on which routing pays."""
    return _synthetic


@pytest.fixture
def small_router() -> Callable[..., TwoStageRouter]:
    """Fit the project's own router on a table, quickly."""

    def fit(table: OutcomeTable, max_entropy: float = 10.0) -> TwoStageRouter:
        return _small_parts(table, max_entropy).router()

    return fit


@pytest.fixture
def small_parts() -> Callable[..., RouterParts]:
    """The same as parts, for an artefact."""
    return _small_parts
