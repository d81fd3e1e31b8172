"""Static embedding plus lexical scores: which words stand in the prompt, beside what it means.

Averaged token rows blur telling words. This embedder appends, to the unit vector of the static embedding, one linear
score per fine class over the prompt's TF-IDF weights (multinomial logistic regression on bags of tokens, fitted
together with the classifier by `pointsman.routers.training.classify`):

    w_t = idf_t (1 + ln n_t),   ℓ = Σ_t w_t B_t / |w|,   output [v ; ℓ]

n_t is how often token t stands in the text; tokens never seen in training have idf 0. B is int8 with a scale per row.
Only the first `static.dim` columns are of unit length together; the heads of the experts read those alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.embed.kernel import KERNEL, Kernel
from pointsman.routers.embed.static import Bag, StaticEmbedder
from pointsman.routers.types import FloatArray


class LexicalEmbedder:
    """A static embedder with lexical scores appended.

    Args:
        static: The static embedder; its tokens are counted.
        idf: Inverse document frequency per token, 0 for tokens that do not count, float32, shape (vocab,).
        row_of: Row of each token among `rows`, anything where idf is 0, int32, shape (vocab,).
        rows: Quantised token weights, int8, shape (counted tokens, K).
        scales: Scale of each row, float32, shape (counted tokens,).
    """

    kind = "static+lexical"
    slow = False

    def __init__(
        self,
        static: StaticEmbedder,
        idf: FloatArray,
        row_of: npt.NDArray[np.int32],
        rows: npt.NDArray[np.int8],
        scales: FloatArray,
    ) -> None:
        if not (len(idf) == len(row_of) == static.vocab and len(rows) == len(scales)):
            raise ValueError(
                f"idf {idf.shape}, row_of {row_of.shape}, rows {rows.shape}, scales {scales.shape} disagree"
            )
        self._static = static
        self._idf = idf
        self._row_of = row_of
        self._rows = rows
        self._scales = scales
        # By token, so that a prompt looks up once: idf, the factor of its row, and the row (as many bytes as tokens
        # and classes; a token that does not count has zeros).
        counted = np.flatnonzero(idf)
        self._factors = np.zeros((2, static.vocab), dtype=np.float32)
        self._factors[:, counted] = idf[counted], idf[counted] * scales[row_of[counted]]
        self._by_token = np.zeros((static.vocab, rows.shape[1]), dtype=np.int8)
        self._by_token[counted] = rows[row_of[counted]]

    @property
    def dim(self) -> int:
        """Width of the vectors: that of the static embedding plus the number of fine classes."""
        return self._static.dim + int(self._rows.shape[1])

    @property
    def static(self) -> StaticEmbedder:
        """The embedder without the lexical scores."""
        return self._static

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; unit static vector and lexical scores side by side, float32, shape (n, dim)."""
        static, width = self._static, self._static.dim
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            ids = static.token_ids(text)
            if static.pool_compiled(ids, row, self._by_token, self._factors):
                continue
            bag = Bag.of(ids)
            row[:width] = static.pool(bag)
            row[width:] = self._scores(bag)
        return out

    def _scores(self, bag: Bag) -> FloatArray | float:
        often = np.log(bag.counts)
        often += 1.0
        factors = self._factors.take(bag.tokens, axis=1)
        factors *= often
        weights = factors[0]
        norm = math.sqrt(weights @ weights)
        if norm == 0.0:
            return 0.0
        scores: FloatArray = factors[1] @ self._by_token.take(bag.tokens, axis=0).astype(np.float32)
        scores /= norm
        return scores

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of this embedder."""
        return {**self._static.spec(), "kind": self.kind, "dim": self.dim}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of this embedder."""
        return {
            **self._static.tensors(),
            "embed.lexical.idf": self._idf,
            "embed.lexical.row_of": self._row_of,
            "embed.lexical.rows": self._rows,
            "embed.lexical.scales": self._scales,
        }

    def tokenizer_json(self) -> str:
        """The tokenizer as the `tokenizers` library writes it."""
        return self._static.tokenizer_json()

    @classmethod
    def from_parts(
        cls,
        spec: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[Any]],
        tokenizer_json: str,
        kernel: Kernel | None = KERNEL,
    ) -> LexicalEmbedder:
        """The inverse of `spec`, `tensors` and `tokenizer_json`."""
        return cls(
            StaticEmbedder.from_parts(spec, tensors, tokenizer_json, kernel),
            tensors["embed.lexical.idf"],
            tensors["embed.lexical.row_of"],
            tensors["embed.lexical.rows"],
            tensors["embed.lexical.scales"],
        )
