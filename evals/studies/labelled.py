"""Labelled prompts and the heads that may classify them, on the features the shipped router uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from routers.classifiers.knn import KnnClassifier
from routers.classifiers.uncertainty import Thresholds
from routers.training import classify
from routers.training.fit import make_embedder
from routers.training.mlp import fit_mlp
from routers.training.tables import read_prompts
from routers.types import FloatArray

Rows = npt.NDArray[np.int64]

#: Neighbours and temperature of the votes of the kNN head.
NEIGHBOURS, VOTES_TEMPERATURE = 20, 0.05


class Head(StrEnum):
    """What turns features into a posterior."""

    LINEAR = "linear, static and lexical (shipped)"
    DENSE = "linear, static alone"
    MLP = "MLP of 128 units, static alone"
    KNN = "kNN-20, static alone"


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Prompts with a category.

    Attributes:
        name: Of the table.
        ids: Prompt ids, n of them.
        texts: The prompts.
        names: Categories, C of them, sorted.
        labels: Category index of each prompt, -1 for out-of-scope ones, shape (n,).
        train: Rows to learn from.
        test: Rows to be judged on.
        outside: Rows of the test split that belong to no category; possibly none.
        features: Of all prompts: static vectors and token counts.
    """

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    labels: Rows
    train: Rows
    test: Rows
    outside: Rows
    features: classify.Features


def load_labelled(folder: Path) -> Labelled:
    """Read a table's prompts and embed them."""
    table = read_prompts(folder)
    columns = table.columns
    strange = columns.get("out_of_scope") or [False] * len(table)
    names = sorted({label for label, out in zip(columns["category"], strange, strict=True) if not out})
    labels = np.array(
        [-1 if out else names.index(label) for label, out in zip(columns["category"], strange, strict=True)]
    )
    split = np.array(columns["split"])
    return Labelled(
        name=table.name,
        ids=tuple(columns["prompt_id"]),
        texts=tuple(columns["prompt"]),
        names=tuple(names),
        labels=labels,
        train=np.flatnonzero((split == "train") & (labels >= 0)),
        test=np.flatnonzero((split == "test") & (labels >= 0)),
        outside=np.flatnonzero((split == "test") & (labels < 0)),
        features=classify.Features.of(make_embedder(None), columns["prompt"]),
    )


def logits_of(head: Head, table: Labelled, train: Rows, rows: Rows) -> tuple[FloatArray, FloatArray | None]:
    """Fit a head on some rows and look at others.

    Returns:
        Logits of shape (len(rows), C), before any temperature, and the head's scope score where it is not the energy of
        the logits, shape (len(rows),).
    """
    size, vectors, labels = len(table.names), table.features.vectors, table.labels
    if head is Head.KNN:
        nothing = Thresholds(classify.NO_BOUND_ABOVE, classify.NO_BOUND_BELOW)
        voters = KnnClassifier(
            table.names,
            vectors[train],
            labels[train],
            k=NEIGHBOURS,
            temperature=VOTES_TEMPERATURE,
            thresholds=nothing,
        )
        posterior, scope = voters.posteriors(vectors[rows])
        return np.log(np.maximum(posterior, 1e-12)), scope
    if head is Head.MLP:
        return fit_mlp(vectors[train], labels[train], size).logits(vectors[rows]), None
    features = table.features if head is Head.LINEAR else classify.Features(vectors, None)
    return classify.fit_logits(features, train, labels, size).logits(features, rows), None
