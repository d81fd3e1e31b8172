"""When does stage 1 not know? Entropy of the posterior, and resemblance to nothing it was trained on.

Entropy: H(x) = -Σ_c p_c log p_c in nats; above a threshold chosen on validation data the prompt is "uncertain" and a
generalist should answer (Composition of Experts, arXiv 2412.01868).

Measured: a classifier may know categories on which no expert was ever measured. Where those hold more than half of the
posterior, no head has evidence to speak from, and a generalist should answer as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pointsman.routers.types import Classification, FloatArray, Posterior

OUT_OF_SCOPE = "out_of_scope"
UNCERTAIN = "uncertain"

#: Stands in for 0 under a logarithm: 0 log 0 counts as 0. The least float32 that is not denormal.
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where certainty ends; both chosen on validation data and kept in the artefact.

    Attributes:
        max_entropy: Entropy in nats above which a prompt is uncertain.
        min_scope: Scope score (the classifier says what it is) below which a prompt is out of scope.
        measured: Categories on which the artefact's experts have outcomes; None for all.
    """

    max_entropy: float
    min_scope: float
    measured: tuple[str, ...] | None = None

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of these thresholds."""
        return {
            "max_entropy": self.max_entropy,
            "min_scope": self.min_scope,
            "measured": None if self.measured is None else list(self.measured),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Thresholds:
        """The inverse of `spec`."""
        measured = spec["measured"]
        return cls(
            float(spec["max_entropy"]),
            float(spec["min_scope"]),
            None if measured is None else tuple(str(name) for name in measured),
        )


def entropy_nats(posterior: Iterable[float]) -> float:
    """-Σ p log p in nats; 0 log 0 counts as 0."""
    return -math.fsum([p * math.log(p) for p in posterior if p > 0.0])


class PosteriorReader:
    """Puts posteriors of one classifier into words.

    Args:
        categories: Of the classifier, C of them.
        thresholds: Where certainty ends.
    """

    def __init__(self, categories: tuple[str, ...], thresholds: Thresholds) -> None:
        self._categories = categories
        self._thresholds = thresholds
        measured = thresholds.measured
        self._measured = (
            None if measured is None else np.array([name in measured for name in categories], dtype=np.float32)
        )

    def classification(self, posterior: FloatArray, scope: float) -> Classification:
        """The classification of one prompt.

        Args:
            posterior: Shape (C,).
            scope: The classifier's scope score.
        """
        entropy = -float(posterior @ np.log(np.maximum(posterior, _LEAST)))
        out_of_scope = scope < self._thresholds.min_scope
        blurred = entropy > self._thresholds.max_entropy
        if out_of_scope:
            category = OUT_OF_SCOPE
        elif blurred:
            category = UNCERTAIN
        else:
            category = self._categories[int(posterior.argmax())]
        unmeasured = self._measured is not None and float(posterior @ self._measured) < 0.5
        return Classification(
            Posterior(self._categories, posterior), category, entropy, out_of_scope, out_of_scope or blurred, unmeasured
        )
