"""Static token embeddings: a prompt's vector is the weighted sum of its tokens' rows, brought to unit length.

    v = u / |u|,   u = Σ_t s_t · q_t          q_t: int8 row of token t, s_t: its scale

The rows are distilled offline from a sentence encoder (`routers/training/distill.py`; model2vec, Minish Lab 2024): each
token passes the encoder alone, PCA reduces the rows, and SIF weights a/(a + p(t)) (Arora et al., ICLR 2017), taken
from the token's rank by Zipf's law, make frequent tokens count less. The weights live in the scales. Rows stay int8 in
memory (a quarter of float32) and only the gathered ones are multiplied out, so that 100 tokens cost microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from pointsman.routers.embed.clip import clip_text
from pointsman.routers.embed.kernel import KERNEL, BufferLike, Kernel
from pointsman.routers.embed.words import TokenIds, WordTokenizer
from pointsman.routers.types import FloatArray

#: Longest text that is read; see `clip_text`. About 500 tokens.
MAX_CHARS = 2048


class Bag(NamedTuple):
    """The different tokens of a text, ascending, and how often each occurs, both of shape (t,).

    Sums over a bag do not depend on the order of the words, to the last bit.
    """

    tokens: TokenIds
    counts: FloatArray

    @classmethod
    def of(cls, ids: TokenIds) -> Bag:
        """From token ids in any order."""
        ids = ids.copy()
        ids.sort()
        # Where a run of equal tokens begins, and where the last one ends. np.unique would take three times as long.
        bounds = np.empty(len(ids) + 1, dtype=np.bool_)
        bounds[0] = bounds[-1] = True
        np.not_equal(ids[1:], ids[:-1], out=bounds[1:-1])
        at = bounds.nonzero()[0]
        return cls(ids.take(at[:-1]), (at[1:] - at[:-1]).astype(np.float32))


class StaticEmbedder:
    """Embed by looking rows up.

    Args:
        tokenizer: Text to token ids; must be the one the rows were made with.
        rows: Quantised rows, int8, shape (vocab, dim).
        scales: Per-token factor (row scale times token weight), float32, shape (vocab,). Zero silences a token.
        max_chars: Texts are clipped to that many characters.
        name: What the rows were distilled from.
        kernel: Does the same faster; None leaves it to Python and numpy.
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
        kernel: Kernel | None = KERNEL,
    ) -> None:
        if rows.ndim != 2 or scales.shape != (rows.shape[0],):
            raise ValueError(f"rows {rows.shape} and scales {scales.shape} do not fit together")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._words = WordTokenizer(tokenizer, kernel)
        self._rows = np.ascontiguousarray(rows)
        self._scales = np.ascontiguousarray(scales, dtype=np.float32)
        self._kernel = kernel
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

    def vocabulary(self) -> dict[str, int]:
        """Token -> its id; of a WordPiece tokenizer the common words come first."""
        return self._tokenizer.get_vocab(with_added_tokens=False)

    def token_ids(self, text: str) -> TokenIds:
        """Token ids of the clipped text, shape (tokens,)."""
        return self._words.token_ids(clip_text(text, self._max_chars))

    def pool(self, bag: Bag) -> FloatArray:
        """Unit vector of a bag of tokens, all zero when no token counts; float32, shape (dim,)."""
        weights = self._scales.take(bag.tokens)
        weights *= bag.counts
        # Cast first: numpy would multiply int8 rows without BLAS.
        vector: FloatArray = weights @ self._rows.take(bag.tokens, axis=0).astype(np.float32)
        norm = math.sqrt(vector @ vector)
        if norm > 0.0:
            vector /= norm
        return vector

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts; rows of unit length (all zero for a text without known tokens), float32, shape (n, dim)."""
        out = np.empty((len(texts), self._rows.shape[1]), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            ids = self.token_ids(text)
            if not self.pool_compiled(ids, row):
                row[:] = self.pool(Bag.of(ids))
        return out

    def pool_compiled(self, ids: TokenIds, out: FloatArray, words: BufferLike = b"", factors: BufferLike = b"") -> bool:
        """Write the vector of a text into `out` as `Kernel.pool` does; False where there is no kernel.

        Args:
            ids: Tokens in any order, shape (n,).
            out: Shape (dim + K,), contiguous.
            words: Rows of the lexical scores, int8, shape (vocab, K), K = 0 by default.
            factors: Shape (2, vocab).
        """
        if self._kernel is None:
            return False
        self._kernel.pool(ids, self._rows, self._scales, words, factors, out)
        return True

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
        cls,
        spec: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[Any]],
        tokenizer_json: str,
        kernel: Kernel | None = KERNEL,
    ) -> StaticEmbedder:
        """The inverse of `spec`, `tensors` and `tokenizer_json`."""
        return cls(
            Tokenizer.from_str(tokenizer_json),
            tensors["embed.rows"],
            tensors["embed.scales"],
            max_chars=int(spec["max_chars"]),
            name=str(spec["name"]),
            kernel=kernel,
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
