"""Prompts with the same meaning as one of the operator's examples: nearest example by cosine, above a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pointsman.routers.protocols import Embedder
from pointsman.routers.types import FloatArray


@dataclass(frozen=True, slots=True)
class Match:
    """An example that is near enough.

    Attributes:
        group: Index of the group it belongs to.
        similarity: Cosine, at least the threshold.
        example: What it is near to.
    """

    group: int
    similarity: float
    example: str


class Examples:
    """Groups of example prompts, n prompts in all.

    Args:
        groups: The examples of each group.
        embedder: Text to vector.
        threshold: Least cosine at which a prompt counts as meaning the same.
    """

    def __init__(self, groups: Sequence[Sequence[str]], embedder: Embedder, threshold: float) -> None:
        texts = [text for group in groups for text in group]
        self._texts = texts
        self._group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        self._vectors: FloatArray = unit(embedder.embed(texts)) if texts else np.zeros((0, embedder.dim), np.float32)
        self._threshold = threshold

    def nearest(self, vector: FloatArray) -> Match | None:
        """The nearest example, None where none is near enough.

        Args:
            vector: Of the prompt, of unit length, shape (dim,).
        """
        if not len(self._vectors):
            return None
        similarity = self._vectors @ vector
        best = int(similarity.argmax())
        if similarity[best] < self._threshold:
            return None
        return Match(int(self._group[best]), float(similarity[best]), self._texts[best])


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors, or a single one, of unit length; an all-zero one, of a text without known tokens, is near nothing."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled
