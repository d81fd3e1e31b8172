"""Labelled prompts and the heads that may classify them, on the features the shipped router uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.knn import KnnClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.training import classify
from pointsman.routers.training.fit import make_embedder
from pointsman.routers.training.mlp import fit_mlp
from pointsman.routers.training.tables import read_prompts
from pointsman.routers.types import FloatArray

Rows = npt.NDArray[np.int64]

#: Neighbours and temperature of the votes of the kNN head.
NEIGHBOURS, VOTES_TEMPERATURE = 20, 0.05


class PosteriorHead(StrEnum):
    """What turns features into a posterior."""

    LINEAR = "linear, static and lexical (shipped)"
    DENSE = "linear, static alone"
    MLP = "MLP of 128 units, static alone"
    KNN = "kNN-20, static alone"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPrompts:
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


def load_labelled(folder: Path) -> LabelledPrompts:
    """Read a table's prompts and embed them."""
    table = read_prompts(folder)
    columns = table.columns
    strange = columns.get("out_of_scope") or [False] * len(table)
    names = sorted({label for label, out in zip(columns["category"], strange, strict=True) if not out})
    labels = np.array(
        [-1 if out else names.index(label) for label, out in zip(columns["category"], strange, strict=True)]
    )
    split = np.array(columns["split"])
    return LabelledPrompts(
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


def logits_of(
    head: PosteriorHead, table: LabelledPrompts, train: Rows, rows: Rows
) -> tuple[FloatArray, FloatArray | None]:
    """Fit a head on some rows and look at others.

    Returns:
        Logits of shape (len(rows), C), before any temperature, and the head's scope score where it is not the energy of
        the logits, shape (len(rows),).
    """
    size, vectors, labels = len(table.names), table.features.vectors, table.labels
    if head is PosteriorHead.KNN:
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
    if head is PosteriorHead.MLP:
        return fit_mlp(vectors[train], labels[train], size).logits(vectors[rows]), None
    features = table.features if head is PosteriorHead.LINEAR else classify.Features(vectors, None)
    return classify.fit_logits(features, train, labels, size).logits(features, rows), None
