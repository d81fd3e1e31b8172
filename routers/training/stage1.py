"""Which head classifies best? Every candidate is judged by log-loss on prompts it was not fitted on.

The linear head is always fitted, because the lexical scores in the embedder come out of the same fit; the others read
the embedding alone. Where labels nest (fine classes in categories), what is compared is the categories' posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.knn import KnnClassifier
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.mlp import MlpClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.training import classify
from pointsman.routers.training.mlp import fit_mlp
from pointsman.routers.types import FloatArray


class HeadChoice(StrEnum):
    """What a caller may ask for."""

    LINEAR = "linear"
    KNN = "knn"
    MLP = "mlp"
    AUTO = "auto"


#: Neighbours asked and temperatures of their votes that are tried.
KNN_CANDIDATES = ((10, 0.05), (20, 0.05), (50, 0.05), (50, 0.02))

_OPEN = Thresholds(classify.NO_BOUND_ABOVE, classify.NO_BOUND_BELOW)


@dataclass(frozen=True, slots=True)
class HeldOutHead:
    """A head on prompts it was not fitted on.

    Attributes:
        kind: `linear`, `knn` or `mlp`.
        posterior: Calibrated, over categories, shape (n, C).
        scope: Scope score, shape (n,).
        build: The classifier fitted on all labelled prompts; None for the linear one, which `assemble` builds.
    """

    kind: HeadChoice
    posterior: FloatArray
    scope: FloatArray
    build: Callable[[Thresholds], KnnClassifier | MlpClassifier] | None = None

    def log_loss(self, category: npt.NDArray[np.int64]) -> float:
        """Mean -ln p of the true category over the labelled prompts."""
        rows = np.flatnonzero(category >= 0)
        return float(-np.log(np.maximum(self.posterior[rows, category[rows]], 1e-12)).mean())


def choose_head(
    asked: HeadChoice,
    linear: HeldOutHead,
    vectors: FloatArray,
    labels: classify.Labels,
    fold: npt.NDArray[np.int64],
    seed: int,
) -> HeldOutHead:
    """The head asked for, or with `auto` the one of least log-loss.

    Args:
        asked: What the caller wants.
        linear: The linear head, already judged.
        vectors: Embedding of all prompts, shape (n, dim).
        labels: What to fit.
        fold: Fold of each prompt, shape (n,).
        seed: Of the MLP.
    """
    if asked is HeadChoice.LINEAR:
        return linear
    others = []
    if asked in (HeadChoice.KNN, HeadChoice.AUTO):
        others.append(_knn(vectors, labels, fold))
    if asked in (HeadChoice.MLP, HeadChoice.AUTO):
        others.append(_mlp(vectors, labels, fold, seed))
    if asked is not HeadChoice.AUTO:
        return others[0]
    return min((linear, *others), key=lambda head: head.log_loss(labels.category))


def _knn(vectors: FloatArray, labels: classify.Labels, fold: npt.NDArray[np.int64]) -> HeldOutHead:
    category = labels.category
    known = category >= 0

    def voters(rows: npt.NDArray[np.bool_], k: int, temperature: float, thresholds: Thresholds) -> KnnClassifier:
        return KnnClassifier(
            labels.categories, vectors[rows], category[rows], k=k, temperature=temperature, thresholds=thresholds
        )

    def held(k: int, temperature: float) -> HeldOutHead:
        posterior = np.zeros((len(vectors), len(labels.categories)), dtype=np.float32)
        scope = np.zeros(len(vectors), dtype=np.float32)
        for index in range(int(fold.max()) + 1):
            here = fold == index
            posterior[here], scope[here] = voters(known & ~here, k, temperature, _OPEN).posteriors(vectors[here])
        return HeldOutHead(
            HeadChoice.KNN, posterior, scope, lambda thresholds: voters(known, k, temperature, thresholds)
        )

    return min((held(*candidate) for candidate in KNN_CANDIDATES), key=lambda head: head.log_loss(category))


def _mlp(vectors: FloatArray, labels: classify.Labels, fold: npt.NDArray[np.int64], seed: int) -> HeldOutHead:
    known = labels.fine >= 0
    classes = len(labels.category_of)
    logits = np.zeros((len(vectors), classes), dtype=np.float32)
    for index in range(int(fold.max()) + 1):
        here = fold == index
        part = fit_mlp(vectors[known & ~here], labels.fine[known & ~here], classes, seed=seed)
        logits[here] = part.logits(vectors[here])
    temperature = classify.fit_temperature(logits[known], labels.fine[known])
    fine, scope = classify.fine_posterior(logits, temperature)

    def build(thresholds: Thresholds) -> MlpClassifier:
        fitted = fit_mlp(vectors[known], labels.fine[known], classes, seed=seed)
        output = LinearClassifier(
            labels.categories,
            fitted.weights,
            fitted.bias,
            labels.category_of,
            temperature=temperature,
            thresholds=thresholds,
        )
        return MlpClassifier(fitted.hidden, fitted.hidden_bias, output)

    return HeldOutHead(HeadChoice.MLP, labels.sum_up(fine), scope, build)
