"""How many labels does the category router need, when neighbours may label the rest?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pointsman.evals.studies.labelled import LabelledPrompts
from pointsman.routers.training import classify
from pointsman.routers.training.fit import make_embedder
from pointsman.routers.training.semi_supervised import propagate
from pointsman.routers.types import FloatArray

#: Training prompts that take part: enough for the smallest seed set to hold fifty labels, few enough to embed again.
PROMPTS = 5000

#: Shares of the training prompts that keep their label.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)

SEEDS_ALONE, BY_STATIC = "seeds alone", "seeds, spread by static neighbours"


@dataclass(frozen=True, slots=True)
class LabellingMethod:
    """One way to come by labels, over `SHARES`.

    Attributes:
        name: Of the way.
        accuracy: Mean test accuracy over the seed sets.
        spread: Standard deviation over the seed sets.
        added: Mean share of the unlabelled prompts that got a label.
        right: Mean share of those labels that are right.
    """

    name: str
    accuracy: tuple[float, ...]
    spread: tuple[float, ...]
    added: tuple[float, ...]
    right: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SeedCurve:
    """Test accuracy of the shipped head against the number of labels, and with all of them."""

    table: str
    full: float
    ways: tuple[LabellingMethod, ...]


def seed_curve(table: LabelledPrompts, seeds: Iterable[int], encoder: str | None) -> SeedCurve:
    """Hide most labels, spread what is left, train the shipped head on the result.

    Args:
        table: The labelled prompts.
        seeds: One seed set each.
        encoder: Embedder that neighbours are also found with, beside the static one; None for that alone.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(table.train)[:PROMPTS])
    table = replace(table, train=chosen)
    vectors: dict[str, FloatArray | None] = {SEEDS_ALONE: None, BY_STATIC: table.features.vectors[chosen]}
    if encoder is not None:
        texts = [table.texts[row] for row in chosen]
        vectors[f"seeds, spread by {encoder} neighbours"] = make_embedder(encoder).embed(texts)
    sets = [_seed_set(len(table.train), seed) for seed in seeds]
    ways = []
    for name, near in vectors.items():
        cells = np.array([[_one(table, draw < share, near) for draw in sets] for share in SHARES])
        accuracy, added = cells[:, :, 0], cells[:, :, 1]
        # A seed set that added nothing says nothing of how right additions are.
        weight = np.where(np.isfinite(cells[:, :, 2]), 1.0, 0.0)
        total = weight.sum(axis=1)
        found = np.where(weight > 0, cells[:, :, 2], 0.0).sum(axis=1)
        right = np.divide(found, total, out=np.full(len(SHARES), np.nan), where=total > 0)
        columns = (accuracy.mean(axis=1), accuracy.std(axis=1), added.mean(axis=1), right)
        ways.append(LabellingMethod(name, *(tuple(column.tolist()) for column in columns)))
    return SeedCurve(table.name, _accuracy(table, table.train, table.labels), tuple(ways))


def _seed_set(size: int, seed: int) -> npt.NDArray[np.float64]:
    """A number per prompt: those below a share are its seeds, so that larger seed sets hold the smaller ones."""
    return np.random.default_rng(seed).random(size)


def _one(table: LabelledPrompts, known: npt.NDArray[np.bool_], near: FloatArray | None) -> tuple[float, float, float]:
    """Test accuracy, share of the unlabelled that got a label, share of those that is right."""
    truth = table.labels[table.train]
    if near is None:
        return _accuracy(table, table.train[known], table.labels), float("nan"), float("nan")
    given = [table.names[label] if kept else None for label, kept in zip(truth, known, strict=True)]
    spread = propagate(near, given)
    found = np.array([-1 if label is None else table.names.index(label) for label in spread.labels])
    new = (found >= 0) & ~known
    labels = table.labels.copy()
    labels[table.train] = found
    right = float((found == truth)[new].mean()) if new.any() else float("nan")
    return _accuracy(table, table.train[found >= 0], labels), float(new.sum() / (~known).sum()), right


def _accuracy(table: LabelledPrompts, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    logits = classify.fit_logits(table.features, rows, labels, len(table.names), max_iter=30).logits(
        table.features, table.test
    )
    return float((logits.argmax(axis=1) == table.labels[table.test]).mean())
