"""Stage 1 as a softmax over fine classes, summed into categories, with a calibrated temperature.

    z = (W v + b) / T,   p_k = exp z_k / Σ_j exp z_j,   p(c|x) = Σ_{k in c} p_k

Fine classes are what the training labels tell apart (an intent, a subject); categories are what routing cares about.
Summing fine classes keeps the posterior a probability. T is fitted on validation data (temperature scaling, Guo et al.
2017, arXiv 1706.04599). The scope score is the negative energy ln Σ_k exp z_k (Liu et al. 2020, arXiv 2010.03759): low
when no class claims the prompt, while a posterior that is merely divided between classes stays high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.uncertainty import PosteriorReader, Thresholds
from pointsman.routers.types import Classification, FloatArray


class LinearClassifier:
    """A multinomial logistic classifier.

    Args:
        categories: Names of the categories, C of them.
        weights: Shape (K, dim), rows ordered by category.
        bias: Shape (K,).
        category_of: Index of each fine class's category, ascending, every category at least once, shape (K,).
        temperature: Divides the logits.
        thresholds: Where certainty ends.
    """

    kind = "linear"

    def __init__(
        self,
        categories: Sequence[str],
        weights: FloatArray,
        bias: FloatArray,
        category_of: npt.NDArray[np.int64],
        *,
        temperature: float,
        thresholds: Thresholds,
    ) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature {temperature} is not positive")
        starts = np.flatnonzero(np.diff(category_of, prepend=-1))
        if not np.array_equal(category_of[starts], np.arange(len(categories))):
            raise ValueError("fine classes must be ordered by category and leave none out")
        self._categories = tuple(categories)
        self._weights = weights
        self._bias = bias
        self._category_of = category_of
        self._starts = starts
        self._temperature = temperature
        self.thresholds = thresholds
        self._posterior_reader = PosteriorReader(self._categories, thresholds)
        self._scaled = np.ascontiguousarray(weights / temperature, dtype=np.float32)
        self._scaled_bias = np.asarray(bias / temperature, dtype=np.float32)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in the posterior's order."""
        return self._categories

    def posteriors(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Classify many prompts at once.

        Args:
            vectors: Shape (n, dim); the first columns are read, as many as there are weights.

        Returns:
            Posterior over categories, shape (n, C), and the scope score, shape (n,).
        """
        logits = vectors[:, : self._scaled.shape[1]] @ self._scaled.T + self._scaled_bias
        peak = logits.max(axis=1, keepdims=True)
        fine = np.exp(logits - peak)
        total = fine.sum(axis=1, keepdims=True)
        fine /= total
        return np.add.reduceat(fine, self._starts, axis=1), peak[:, 0] + np.log(total[:, 0])

    def classify(self, vector: FloatArray) -> Classification:
        """Classify one prompt, vector of shape (dim,)."""
        # As `posteriors`, without the axis: half of the time for one prompt.
        fine = self._scaled @ vector[: self._scaled.shape[1]]
        fine += self._scaled_bias
        peak = np.maximum.reduce(fine)
        fine -= peak
        np.exp(fine, out=fine)
        total = np.add.reduce(fine)
        posterior = np.add.reduceat(fine, self._starts)
        posterior /= total
        return self._posterior_reader.classification(posterior, float(peak) + math.log(total))

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this classifier."""
        return {
            "kind": self.kind,
            "categories": list(self._categories),
            "temperature": self._temperature,
            "thresholds": dict(self.thresholds.spec()),
        }

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this classifier."""
        return {
            "classifier.weights": self._weights,
            "classifier.bias": self._bias,
            "classifier.category_of": self._category_of,
        }

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> LinearClassifier:
        """The inverse of `spec` and `tensors`."""
        return cls(
            [str(name) for name in spec["categories"]],
            tensors["classifier.weights"],
            tensors["classifier.bias"],
            tensors["classifier.category_of"],
            temperature=float(spec["temperature"]),
            thresholds=Thresholds.from_spec(spec["thresholds"]),
        )
