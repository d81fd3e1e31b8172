"""Stage 1 by neighbours: weighted votes of the k nearest training prompts (Composition of Experts, arXiv 2412.01868).

    w_i = exp(cos(v, v_i) / τ),   p(c|x) = (Σ_{i in N_k, y_i = c} w_i + α / C) / (Σ_{i in N_k} w_i + α)

α is one pseudo-vote spread over all categories. The scope score is the mean cosine to the k neighbours: a prompt far
from every training prompt resembles nothing the classifier knows. Needs no fit, so it serves small seed sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.uncertainty import PosteriorReader, Thresholds
from pointsman.routers.types import Classification, FloatArray


class KnnClassifier:
    """Votes of the nearest training prompts.

    Args:
        categories: Names of the categories, C of them.
        vectors: Unit rows of the training prompts, shape (n, dim), float16 or float32.
        labels: Category index of each, shape (n,).
        k: Neighbours asked; at most n are.
        temperature: τ above.
        thresholds: Where certainty ends.
    """

    kind = "knn"

    def __init__(
        self,
        categories: Sequence[str],
        vectors: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        *,
        k: int,
        temperature: float,
        thresholds: Thresholds,
    ) -> None:
        if not k >= 1 or temperature <= 0 or len(vectors) != len(labels) or not len(vectors):
            raise ValueError(
                f"k {k}, temperature {temperature}, {len(vectors)} vectors, {len(labels)} labels do not fit"
            )
        self._categories = tuple(categories)
        self._vectors = vectors.astype(np.float32)
        self._labels = labels
        self._k = min(k, len(vectors))
        self._temperature = temperature
        self.thresholds = thresholds
        self._posterior_reader = PosteriorReader(self._categories, thresholds)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in the posterior's order."""
        return self._categories

    def posteriors(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior over categories, shape (n, C), and the scope score, shape (n,), of vectors of shape (n, dim)."""
        cosines = vectors[:, : self._vectors.shape[1]] @ self._vectors.T
        nearest = np.argpartition(-cosines, self._k - 1, axis=1)[:, : self._k]
        near = np.take_along_axis(cosines, nearest, axis=1)
        votes = np.exp((near - 1.0) / self._temperature)
        posterior = np.full((len(vectors), len(self._categories)), 1.0 / len(self._categories), dtype=np.float32)
        # The pseudo-vote weighs as much as one neighbour of mean weight would, so that it never drowns the votes.
        pseudo = votes.mean(axis=1, keepdims=True)
        posterior *= pseudo
        np.add.at(posterior, (np.arange(len(vectors))[:, None], self._labels[nearest]), votes)
        posterior /= posterior.sum(axis=1, keepdims=True)
        return posterior, near.mean(axis=1)

    def classify(self, vector: FloatArray) -> Classification:
        """Classify one prompt, vector of shape (dim,)."""
        posterior, scope = self.posteriors(vector[None, :])
        return self._posterior_reader.classification(posterior[0], float(scope[0]))

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this classifier."""
        return {
            "kind": self.kind,
            "categories": list(self._categories),
            "k": self._k,
            "temperature": self._temperature,
            "thresholds": dict(self.thresholds.spec()),
        }

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this classifier."""
        return {"classifier.vectors": self._vectors.astype(np.float16), "classifier.labels": self._labels}

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> KnnClassifier:
        """The inverse of `spec` and `tensors`."""
        return cls(
            [str(name) for name in spec["categories"]],
            tensors["classifier.vectors"],
            tensors["classifier.labels"],
            k=int(spec["k"]),
            temperature=float(spec["temperature"]),
            thresholds=Thresholds.from_spec(spec["thresholds"]),
        )
