"""Stage 1 with one hidden layer: a softmax over fine classes on rectified features.

    h = max(0, V v + c),   then as `LinearClassifier` on h

One of three heads for Composition of Experts' category router (arXiv 2412.01868), whose own type is not known.
Temperature, sums over fine classes, scope score and thresholds are those of the linear classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.types import Classification, FloatArray


class MlpClassifier:
    """A multinomial logistic classifier on a hidden layer.

    Args:
        hidden: V, shape (h, dim).
        hidden_bias: c, shape (h,).
        output: The classifier on h.
    """

    kind = "mlp"

    def __init__(self, hidden: FloatArray, hidden_bias: FloatArray, output: LinearClassifier) -> None:
        if hidden_bias.shape != hidden.shape[:1]:
            raise ValueError(f"hidden weights {hidden.shape} and bias {hidden_bias.shape} do not fit together")
        self._hidden = np.asarray(hidden, dtype=np.float32)
        self._hidden_bias = np.asarray(hidden_bias, dtype=np.float32)
        self._output = output

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in the posterior's order."""
        return self._output.categories

    @property
    def thresholds(self) -> Thresholds:
        """Where certainty ends."""
        return self._output.thresholds

    def posteriors(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior over categories, shape (n, C), and the scope score, shape (n,), of vectors of shape (n, dim)."""
        return self._output.posteriors(self._features(vectors))

    def classify(self, vector: FloatArray) -> Classification:
        """Classify one prompt, vector of shape (dim,)."""
        return self._output.classify(self._features(vector))

    def _features(self, vectors: FloatArray) -> FloatArray:
        features: FloatArray = np.maximum(
            vectors[..., : self._hidden.shape[1]] @ self._hidden.T + self._hidden_bias, np.float32(0.0)
        )
        return features

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this classifier."""
        return {**self._output.spec(), "kind": self.kind}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this classifier."""
        return {
            **self._output.tensors(),
            "classifier.hidden.weights": self._hidden,
            "classifier.hidden.bias": self._hidden_bias,
        }

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> MlpClassifier:
        """The inverse of `spec` and `tensors`."""
        return cls(
            tensors["classifier.hidden.weights"],
            tensors["classifier.hidden.bias"],
            LinearClassifier.from_parts(spec, tensors),
        )
