"""Fit the classifier with one hidden layer, by scikit-learn's `MLPClassifier` (Adam on cross-entropy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.types import FloatArray

#: Units of the hidden layer, passes over the data, and the penalty on the weights.
HIDDEN = 128
EPOCHS = 30
PENALTY = 1e-3

#: A unit vector's columns are a twentieth in size; Adam's steps suit columns of size one.
_LEARNING_RATE = 3e-3

#: Logit of a class that the data has no example of.
_NEVER = -30.0


@dataclass(frozen=True, slots=True)
class FittedMlp:
    """A hidden layer and the softmax on it.

    Attributes:
        hidden: Shape (h, dim).
        hidden_bias: Shape (h,).
        weights: Shape (K, h).
        bias: Shape (K,).
    """

    hidden: FloatArray
    hidden_bias: FloatArray
    weights: FloatArray
    bias: FloatArray

    def logits(self, vectors: FloatArray) -> FloatArray:
        """Logits of vectors of shape (n, dim), shape (n, K)."""
        return np.asarray(
            np.maximum(vectors @ self.hidden.T + self.hidden_bias, 0.0) @ self.weights.T + self.bias, dtype=np.float32
        )


def fit_mlp(
    vectors: FloatArray,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> FittedMlp:
    """Fit.

    Args:
        vectors: Shape (n, dim).
        labels: Class index of each row, shape (n,).
        classes: K; a class without an example gets a logit nothing reaches.
        epochs: Passes over the data.
        seed: Of the initial weights and of shuffling.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (HIDDEN,),
        alpha=PENALTY,
        batch_size=min(256, len(vectors)),
        learning_rate_init=_LEARNING_RATE,
        max_iter=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # The number of passes is the recipe: stopping early regularises.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, labels)
    found = model.classes_
    output = np.zeros((classes, HIDDEN), dtype=np.float32)
    bias = np.full(classes, _NEVER, dtype=np.float32)
    if len(found) == 2:
        # scikit-learn fits two classes with one logit: that of the second.
        output[found[1]], bias[found] = model.coefs_[1][:, 0], (0.0, float(model.intercepts_[1][0]))
    else:
        output[found], bias[found] = model.coefs_[1].T, model.intercepts_[1]
    return FittedMlp(model.coefs_[0].T.astype(np.float32), model.intercepts_[0].astype(np.float32), output, bias)
