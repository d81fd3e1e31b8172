"""Static token embeddings: a prompt's vector is the weighted sum of its tokens' rows, brought to unit length.

    v = u / |u|,   u = Σ_t s_t · q_t          q_t: int8 row of token t, s_t: its scale

The rows are distilled offline from a sentence encoder (`routers.training.distill`; model2vec, Minish Lab 2024): each
token passes the encoder alone, PCA reduces the rows, and SIF weights a/(a + p(t)) (Arora et al., ICLR 2017), taken
from the token's rank by Zipf's law, make frequent tokens count less. The weights live in the scales. Rows stay int8 in
memory (a quarter of float32) and only the gathered ones are multiplied out, so that 100 tokens cost microseconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from routers.embed.clip import clip_text
from routers.embed.words import Words
from routers.types import FloatArray

#: Longest text that is read; see `clip_text`. About 500 tokens.
MAX_CHARS = 2048


class Bag(NamedTuple):
    """The different tokens of a text and how often each occurs, both of shape (t,)."""

    tokens: npt.NDArray[np.intp]
    counts: FloatArray

    @classmethod
    def of(cls, ids: Iterable[int]) -> Bag:
        """From token ids in any order."""
        found = Counter(ids)
        return cls(
            np.fromiter(found, np.intp, len(found)),
            np.fromiter(found.values(), np.float32, len(found)),
        )


class StaticEmbedder:
    """Embed by looking rows up.

    Args:
        tokenizer: Text to token ids; must be the one the rows were made with.
        rows: Quantised rows, int8, shape (vocab, dim).
        scales: Per-token factor (row scale times token weight), float32, shape (vocab,). Zero silences a token.
        max_chars: Texts are clipped to that many characters.
        name: What the rows were distilled from.
    """

    kind = "static"
    slow = False

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: npt.NDArray[np.int8],
        scales: FloatArray,
        *,
        max_chars: int = MAX_CHARS,
        name: str = "static",
    ) -> None:
        if rows.ndim != 2 or scales.shape != (rows.shape[0],):
            raise ValueError(f"rows {rows.shape} and scales {scales.shape} do not fit together")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._words = Words(tokenizer)
        self._rows = rows
        self._scales = scales
        self._max_chars = max_chars
        self.name = name

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._rows.shape[1])

    @property
    def vocab(self) -> int:
        """Number of tokens."""
        return int(self._rows.shape[0])

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of the clipped texts."""
        return [self._words.token_ids(clip_text(text, self._max_chars)) for text in texts]

    def pool(self, bag: Bag) -> FloatArray:
        """Unit vector of a bag of tokens, all zero when no token counts; float32, shape (dim,)."""
        weights = bag.counts * self._scales.take(bag.tokens)
        # Cast first: numpy would multiply int8 rows without BLAS.
        vector: FloatArray = weights @ self._rows.take(bag.tokens, axis=0).astype(np.float32)
        norm = math.sqrt(vector @ vector)
        return vector / np.float32(norm) if norm > 0 else vector

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; rows of unit length (all zero for a text without known tokens), float32, shape (n, dim)."""
        out = np.zeros((len(texts), self._rows.shape[1]), dtype=np.float32)
        for row, ids in zip(out, self.token_ids(texts), strict=True):
            row[:] = self.pool(Bag.of(ids))
        return out

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this embedder."""
        return {"kind": self.kind, "name": self.name, "dim": self.dim, "max_chars": self._max_chars}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this embedder."""
        return {"embed.rows": self._rows, "embed.scales": self._scales}

    def tokenizer_json(self) -> str:
        """The tokenizer as the `tokenizers` library writes it."""
        return str(self._tokenizer.to_str())

    @classmethod
    def from_parts(
        cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], tokenizer_json: str
    ) -> StaticEmbedder:
        """The inverse of `spec`, `tensors` and `tokenizer_json`."""
        return cls(
            Tokenizer.from_str(tokenizer_json),
            tensors["embed.rows"],
            tensors["embed.scales"],
            max_chars=int(spec["max_chars"]),
            name=str(spec["name"]),
        )


def quantise_rows(matrix: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Quantise each row to int8 by its own largest magnitude.

    Args:
        matrix: Rows with their token weights multiplied in, shape (vocab, dim).

    Returns:
        Rows of int8 in [-127, 127] and the scales, so that `scales[:, None] * rows` is the matrix but for rounding.
    """
    peak = np.abs(matrix).max(axis=1)
    scales = (peak / 127.0).astype(np.float32)
    safe = np.where(scales > 0, scales, 1.0)
    return np.rint(matrix / safe[:, None]).astype(np.int8), scales
