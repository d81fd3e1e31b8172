"""The open models of mmlu_pro: their sizes, their outcomes, and the categories our classifier sees in the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.near_duplicates import near_duplicate_clusters
from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.routers.training import classify
from pointsman.routers.training.fit import make_embedder
from pointsman.routers.training.folds import fold_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_FOLDS = 3

#: Model -> (total, active) parameters in billions, as the models' own cards or reports state them. Gemini's makers
#: state none; DeepSeek-Coder-V2 (236 B, 21 B active) is scored on 86 % of the prompts only.
SIZES_B = {
    "Llama-2-7b-hf": (6.7, 6.7),
    "Llama-2-13b-hf": (13.0, 13.0),
    "Llama-2-70b-hf": (69.0, 69.0),
    "Meta-Llama-3-8B": (8.0, 8.0),
    "Meta-Llama-3-70B": (70.6, 70.6),
    "Meta-Llama-3.1-8B": (8.0, 8.0),
    "Meta-Llama-3.1-8B-Instruct": (8.0, 8.0),
    "Meta-Llama-3.1-70B": (70.6, 70.6),
    "Meta-Llama-3.1-70B-Instruct": (70.6, 70.6),
    "Mistral-7B-v0.1": (7.2, 7.2),
    "Mistral-7B-v0.2-hf": (7.2, 7.2),
    "Mistral-7B-Instruct-v0.1": (7.2, 7.2),
    "Mistral-7B-Instruct-v0.2": (7.2, 7.2),
    "mathstral-7B": (7.2, 7.2),
    "Mixtral-8x7B-v0.1": (46.7, 12.9),
    "Mixtral-8x7B-Instruct-v0.1": (46.7, 12.9),
    "Phi-3-mini-4k-instruct": (3.8, 3.8),
    "Qwen1.5-7B-Chat": (7.7, 7.7),
    "Qwen1.5-72B-Chat": (72.3, 72.3),
    "Qwen1.5-110B": (111.0, 111.0),
    "Yi-6B": (6.1, 6.1),
    "Yi-6b-Chat": (6.1, 6.1),
    "Yi-34B": (34.4, 34.4),
    "c4ai-command-r-v01": (35.0, 35.0),
    "gemma-7b": (8.5, 8.5),
    "jamba-1.5-large": (398.0, 94.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class OpenModels:
    """Outcomes of the open models, with features of the prompts.

    Attributes:
        table: Only prompts that every model answered.
        total_b, active_b: Parameters in billions, shape (m,).
        train, test: Rows.
        features: Of every prompt.
        clusters: Near-duplicates share a number, shape (n,).
    """

    table: OutcomeTable
    total_b: Floats
    active_b: Floats
    train: Ints
    test: Ints
    features: classify.Features
    clusters: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryPredictions:
    """What the category classifier says of prompts it was not fitted on.

    Attributes:
        names: The categories, C of them.
        train: Posterior of the training rows, each out of fold, shape (t, C).
        test: Posterior of the other rows, shape (s, C).
    """

    names: tuple[str, ...]
    train: Floats
    test: Floats


def load_open_models(folder: Path) -> OpenModels:
    """Read mmlu_pro's open models."""
    table = load_table(folder).pool(list(SIZES_B)).common()
    splits = np.array(table.splits)
    return OpenModels(
        table,
        np.array([SIZES_B[name][0] for name in table.experts]),
        np.array([SIZES_B[name][1] for name in table.experts]),
        np.flatnonzero(splits == "train"),
        np.flatnonzero(splits == "test"),
        classify.Features.of(make_embedder(None), table.prompts),
        near_duplicate_clusters(table.prompts),
    )


def see_categories(models: OpenModels, train: Ints, test: Ints) -> CategoryPredictions:
    """Fit our linear classifier on the training rows; training posteriors are out of fold, all are calibrated."""
    given: Sequence[str] = [models.table.categories[row] for row in train]
    labels = classify.index_labels(given, None)
    whole = np.full(len(models.table), -1, dtype=np.int64)
    whole[train] = labels.fine
    fold = fold_of([models.table.prompts[row] for row in train], _FOLDS, seed=0)
    classes = len(labels.categories)
    held = np.zeros((len(train), classes), dtype=np.float32)
    for index in range(_FOLDS):
        fitted = classify.fit_logits(models.features, train[fold != index], whole, classes)
        held[fold == index] = fitted.logits(models.features, train[fold == index])
    temperature = classify.fit_temperature(held, labels.fine)
    logits = classify.fit_logits(models.features, train, whole, classes).logits(models.features, test)
    return CategoryPredictions(
        labels.categories,
        classify.fine_posterior(held, temperature)[0].astype(np.float64),
        classify.fine_posterior(logits, temperature)[0].astype(np.float64),
    )
