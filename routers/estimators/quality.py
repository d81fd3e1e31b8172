"""Predicted quality per expert: independent heads (Tryage, arXiv 2308.11601; papers.md §1.6), blended and shrunk.

    q̂_n(x) = μ_n + w_cat (Σ_c p(c|x) m_nc - μ_n) + w_lin (W_n v + b_n - μ_n) + w_knn (ȳ_n(N_k(x)) - μ_n)

μ_n is the expert's mean quality, m_nc its mean in category c, drawn to μ_n where there is little evidence, (W_n, b_n)
its ridge regression on the embedding, ȳ_n(N_k) its mean over the k nearest training prompts. The blend weights are
one set per artefact, chosen by cross-validation (stacking, Breiman 1996); they sum to at most 1, and what is missing
to 1 stays on μ_n: with thin evidence the router falls back to the best single expert, never below it by design.

Heads and neighbours read the first columns of the vector, as many as they were fitted on: an embedder may append
features for the classifier alone.

Every head stands alone, so adding or removing an expert never moves another's prediction, and restriction to a subset
of the pool is exact (MoE², papers.md §3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from experts.spec import Source
from routers.types import Classification, FloatArray, Qualities


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
    """One regression per expert on the embedding: `weights` of shape (m, dim), `bias` of shape (m,)."""

    weights: FloatArray
    bias: FloatArray


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Training prompts to look among.

    Attributes:
        vectors: Unit rows, float32, shape (n, dim).
        scores: Centred scores `y - μ` with 0 where none was observed, float32, shape (n, m).
        observed: 1 where a score was observed, float32, shape (n, m).
        k: Neighbours asked.
    """

    vectors: FloatArray
    scores: FloatArray
    observed: FloatArray
    k: int

    def deviations(self, vectors: FloatArray) -> FloatArray:
        """Mean centred score of the k nearest, for vectors of shape (n, dim); shape (n, m); 0 without evidence."""
        k = min(self.k, len(self.vectors))
        cosines = vectors[:, : self.vectors.shape[1]] @ self.vectors.T
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        seen = self.observed[nearest].sum(axis=1)
        total = self.scores[nearest].sum(axis=1)
        return np.asarray(np.divide(total, seen, out=np.zeros_like(total), where=seen > 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """How much each view of a prompt counts; each at least 0, together at most 1."""

    category: float = 0.0
    linear: float = 0.0
    neighbours: float = 0.0


class BlendedQuality:
    """Predicted quality from category means, regression heads and neighbours.

    Args:
        experts: Artefact names of the experts, m of them.
        categories: The classifier's categories, C of them.
        base: Mean quality per expert, shape (m,).
        weights: The blend; a view with weight 0 may be absent.
        category: Category means, or None.
        linear: Regression heads, or None.
        neighbours: Training prompts, or None.
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
        neighbours: Neighbours | None = None,
    ) -> None:
        given = {"category": category, "linear": linear, "neighbours": neighbours}
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
        self._neighbours = neighbours
        # The blend is linear in posterior and vector, so it is multiplied out once: a prompt costs two products.
        self._offset = np.asarray(base * (1.0 - weights.category - weights.linear), dtype=np.float32)
        self._per_category = self._per_column = None
        if category is not None and weights.category:
            self._per_category = np.ascontiguousarray(weights.category * category.mean.T, dtype=np.float32)
        if linear is not None and weights.linear:
            self._offset = self._offset + np.float32(weights.linear) * linear.bias
            self._per_column = np.ascontiguousarray(weights.linear * linear.weights.T, dtype=np.float32)
        # Second moments per category: the law of total variance then costs one product per prompt.
        self._moments = None if category is None else (category.error**2 + category.mean**2).astype(np.float32)

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts that have a head."""
        return self._experts

    def predict(self, vectors: FloatArray, posteriors: FloatArray) -> FloatArray:
        """Predicted quality of many prompts.

        Args:
            vectors: Shape (n, dim).
            posteriors: Shape (n, C).

        Returns:
            Shape (n, m), within [0, 1].
        """
        out: FloatArray = np.repeat(self._offset[None, :], len(vectors), axis=0)
        if self._per_category is not None:
            out += posteriors @ self._per_category
        if self._per_column is not None:
            out += vectors[:, : len(self._per_column)] @ self._per_column
        if self._neighbours is not None and self._weights.neighbours:
            out += np.float32(self._weights.neighbours) * self._neighbours.deviations(vectors)
        return out.clip(0.0, 1.0, out=out)

    def estimate(self, vector: FloatArray, classification: Classification) -> Qualities:
        """Predicted quality of every expert that has a head.

        The uncertainty is that of the category view, by the law of total variance: the standard errors of the
        category means plus the spread of the means over the posterior. NaN when the artefact has no category view.
        """
        posterior = np.fromiter(
            (classification.posterior[name] for name in self._categories), np.float32, len(self._categories)
        )
        mean = self.predict(vector[None, :], posterior[None, :])[0]
        if self._category is None or self._moments is None:
            std = np.full_like(mean, np.nan)
        else:
            variance = self._moments @ posterior - (self._category.mean @ posterior) ** 2
            std = np.sqrt(np.maximum(variance, 0.0))
        return Qualities(self._experts, mean, std, self._sources)

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of these heads."""
        return {
            "kind": self.kind,
            "experts": list(self._experts),
            "categories": list(self._categories),
            "blend": {
                "category": self._weights.category,
                "linear": self._weights.linear,
                "neighbours": self._weights.neighbours,
            },
            "neighbours_k": None if self._neighbours is None else self._neighbours.k,
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
        if self._neighbours is not None:
            out["quality.neighbours.vectors"] = self._neighbours.vectors.astype(np.float16)
            out["quality.neighbours.scores"] = self._neighbours.scores.astype(np.float16)
            out["quality.neighbours.observed"] = self._neighbours.observed.astype(np.uint8)
        return out

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> BlendedQuality:
        """The inverse of `spec` and `tensors`."""
        category = linear = neighbours = None
        if "quality.category.mean" in tensors:
            category = CategoryMeans(tensors["quality.category.mean"], tensors["quality.category.error"])
        if "quality.linear.weights" in tensors:
            linear = LinearHeads(tensors["quality.linear.weights"], tensors["quality.linear.bias"])
        if "quality.neighbours.vectors" in tensors:
            neighbours = Neighbours(
                tensors["quality.neighbours.vectors"].astype(np.float32),
                tensors["quality.neighbours.scores"].astype(np.float32),
                tensors["quality.neighbours.observed"].astype(np.float32),
                int(spec["neighbours_k"]),
            )
        return cls(
            [str(name) for name in spec["experts"]],
            [str(name) for name in spec["categories"]],
            tensors["quality.base"],
            BlendWeights(**{key: float(value) for key, value in spec["blend"].items()}),
            category=category,
            linear=linear,
            neighbours=neighbours,
        )
