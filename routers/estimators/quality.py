"""Predicted quality per expert: independent heads (Tryage, arXiv 2308.11601), blended and shrunk.

    q̂_n(x) = μ_n + w_cat (Σ_c p(c|x) m_nc - μ_n) + w_lin (W_n v + U_n p + b_n - μ_n)

μ_n is the expert's mean quality, m_nc its mean in category c, drawn to μ_n where there is little evidence, and
(W_n, U_n, b_n) its ridge regression on the vector v (embedding and prompt features) and the category posterior p. The
blend weights are one set per artefact, chosen by cross-validation (stacking, Breiman 1996); they sum to at most 1, and
what is missing to 1 stays on μ_n: with thin evidence the router falls back to the best single expert.

Heads read the first columns of the vector, as many as they were fitted on.

Every head stands alone, so adding or removing an expert never moves another's prediction, and restriction to a subset
of the pool is exact (MoE², arXiv 2501.09410).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.experts.spec import Source
from pointsman.routers.assessment import probabilities
from pointsman.routers.types import Classification, FloatArray, Qualities


@dataclass(frozen=True, slots=True)
class CategoryMeans:
    """Mean quality per expert and category.

    Attributes:
        mean: Drawn to the expert's mean where evidence is thin, shape (m, C).
        error: Standard error of that mean, shape (m, C).
    """

    mean: FloatArray
    error: FloatArray


@dataclass(frozen=True, slots=True)
class LinearHeads:
    """One regression per expert on the vector and the category posterior.

    Attributes:
        weights: Of the vector's first `dim` columns, shape (m, dim).
        bias: Shape (m,).
        posterior: Of the categories, shape (m, C); None where the heads do not look at them.
    """

    weights: FloatArray
    bias: FloatArray
    posterior: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """How much each view of a prompt counts; each at least 0, together at most 1."""

    category: float = 0.0
    linear: float = 0.0


class BlendedQuality:
    """Predicted quality from category means and regression heads.

    Args:
        experts: Artefact names of the experts, m of them.
        categories: The classifier's categories, C of them.
        base: Mean quality per expert, shape (m,).
        weights: The blend; a view with weight 0 may be absent.
        category: Category means, or None.
        linear: Regression heads, or None.
    """

    kind = "blend"

    def __init__(
        self,
        experts: Sequence[str],
        categories: Sequence[str],
        base: FloatArray,
        weights: BlendWeights,
        *,
        category: CategoryMeans | None = None,
        linear: LinearHeads | None = None,
    ) -> None:
        given = {"category": category, "linear": linear}
        for name, part in given.items():
            weight = getattr(weights, name)
            if weight < 0 or (weight > 0 and part is None):
                raise ValueError(f"blend weight {name}={weight} needs its part, and must not be negative")
        self._experts = tuple(experts)
        self._sources = (Source.MEASURED,) * len(self._experts)
        self._categories = tuple(categories)
        self._base = base
        self._weights = weights
        self._category = category
        self._linear = linear
        # The blend is linear in posterior and vector, so it is multiplied out once: a prompt costs two products.
        self._offset = np.asarray(base * (1.0 - weights.category - weights.linear), dtype=np.float32)
        per_category = np.zeros((len(self._experts), len(self._categories)), dtype=np.float32)
        self._per_column = None
        if category is not None and weights.category:
            per_category += np.float32(weights.category) * category.mean
        if linear is not None and weights.linear:
            if linear.posterior is not None:
                per_category += np.float32(weights.linear) * linear.posterior
            self._offset = self._offset + np.float32(weights.linear) * linear.bias
            self._per_column = np.ascontiguousarray(weights.linear * linear.weights.T, dtype=np.float32)
        self._per_category = np.ascontiguousarray(per_category.T)
        # Second moments per category: the law of total variance then costs one product per prompt.
        self._moments = None if category is None else (category.error**2 + category.mean**2).astype(np.float32)

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts that have a head."""
        return self._experts

    def predict(self, vectors: FloatArray, posteriors: FloatArray) -> FloatArray:
        """Predicted quality of many prompts, or of one.

        Args:
            vectors: Shape (n, dim), or (dim,).
            posteriors: Shape (n, C), or (C,).

        Returns:
            Shape (n, m), or (m,), within [0, 1].
        """
        out: FloatArray = posteriors @ self._per_category
        out += self._offset
        if self._per_column is not None:
            out += vectors[..., : len(self._per_column)] @ self._per_column
        np.maximum(out, 0.0, out=out)
        return np.minimum(out, 1.0, out=out)

    def estimate(self, vector: FloatArray, classification: Classification) -> Qualities:
        """Predicted quality of every expert that has a head.

        The uncertainty is that of the category view, by the law of total variance: the standard errors of the
        category means plus the spread of the means over the posterior. NaN when the artefact has no category view.
        """
        posterior = probabilities(classification.posterior, self._categories)
        mean = self.predict(vector, posterior)
        return Qualities(self._experts, mean, partial(self._std, posterior), self._sources)

    def _std(self, posterior: FloatArray) -> FloatArray:
        if self._category is None or self._moments is None:
            return np.full(len(self._experts), np.nan, dtype=np.float32)
        variance = self._moments @ posterior - (self._category.mean @ posterior) ** 2
        return np.sqrt(np.maximum(variance, 0.0))

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of these heads."""
        return {
            "kind": self.kind,
            "experts": list(self._experts),
            "categories": list(self._categories),
            "blend": {"category": self._weights.category, "linear": self._weights.linear},
        }

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of these heads."""
        out: dict[str, npt.NDArray[Any]] = {"quality.base": self._base}
        if self._category is not None:
            out["quality.category.mean"] = self._category.mean
            out["quality.category.error"] = self._category.error
        if self._linear is not None:
            out["quality.linear.weights"] = self._linear.weights
            out["quality.linear.bias"] = self._linear.bias
            if self._linear.posterior is not None:
                out["quality.linear.posterior"] = self._linear.posterior
        return out

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> BlendedQuality:
        """The inverse of `spec` and `tensors`."""
        category = linear = None
        if "quality.category.mean" in tensors:
            category = CategoryMeans(tensors["quality.category.mean"], tensors["quality.category.error"])
        if "quality.linear.weights" in tensors:
            linear = LinearHeads(
                tensors["quality.linear.weights"],
                tensors["quality.linear.bias"],
                tensors.get("quality.linear.posterior"),
            )
        blend = spec["blend"]
        if blend.get("neighbours"):
            raise ValueError("its blend has a neighbour view, which is no longer read: train it again")
        return cls(
            [str(name) for name in spec["experts"]],
            [str(name) for name in spec["categories"]],
            tensors["quality.base"],
            BlendWeights(float(blend["category"]), float(blend["linear"])),
            category=category,
            linear=linear,
        )
