"""The key-value cache: one pair of arrays for all sequences of a model, so that a step needs no gathering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_SPAN_BLOCK = 128


class KeyValueCache:
    """Rows of keys and values in the order in which sequences were added; removing one closes the gap.

    Args:
        layers: Number of layers.
        kv_heads: Key-value heads.
        head_dim: Width of a head.
        context_tokens: Longest sequence.
    """

    def __init__(self, layers: int, kv_heads: int, head_dim: int, context_tokens: int) -> None:
        self._context_tokens = context_tokens
        self._keys: Array = np.zeros((layers, 1, kv_heads, _SPAN_BLOCK, head_dim), np.float32)
        self._values: Array = np.zeros_like(self._keys)
        self._count = 0
        self._lengths: NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens held per row, [rows]."""
        return self._lengths[: self._count]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._keys.nbytes * 2

    def add(self) -> int:
        """Open an empty row at the end and return its number."""
        if self._count == self._keys.shape[1]:
            self._grow(rows=2 * self._count, span=self._keys.shape[3])
        self._lengths[self._count] = 0
        self._count += 1
        return self._count - 1

    def remove(self, row: int) -> None:
        """Drop a row; the later ones move up by one."""
        last = self._count - 1
        if row < last:
            span = int(self.lengths.max())
            self._keys[:, row:last, :, :span] = self._keys[:, row + 1 : last + 1, :, :span]
            self._values[:, row:last, :, :span] = self._values[:, row + 1 : last + 1, :, :span]
            self._lengths[row:last] = self._lengths[row + 1 : last + 1]
        self._count = last
        if self._count == 0:
            # Back to the smallest size, so that one long conversation does not hold its memory for ever.
            self._keys = np.zeros(
                (*self._keys.shape[:1], 1, self._keys.shape[2], _SPAN_BLOCK, self._keys.shape[4]), np.float32
            )
            self._values = np.zeros_like(self._keys)
            self._lengths = np.zeros(1, np.int64)

    def reserve(self, rows: slice, steps: int) -> CacheView:
        """Room for `steps` more tokens in each of `rows`.

        Raises:
            ValueError: A sequence would outgrow the context.
        """
        lengths = self.lengths[rows]
        span = int(lengths.max()) + steps
        if span > self._context_tokens:
            raise ValueError(f"{span} tokens do not fit the context of {self._context_tokens}")
        if span > self._keys.shape[3]:
            blocks = -(-max(span, 3 * self._keys.shape[3] // 2) // _SPAN_BLOCK)
            self._grow(rows=self._keys.shape[1], span=min(blocks * _SPAN_BLOCK, self._context_tokens))
        return CacheView(self._keys[:, rows], self._values[:, rows], self._lengths[rows], span, steps)

    def _grow(self, rows: int, span: int) -> None:
        layers, held_rows, kv_heads, held_span, head_dim = self._keys.shape
        for name in ("_keys", "_values"):
            grown = np.zeros((layers, rows, kv_heads, span, head_dim), np.float32)
            grown[:, :held_rows, :, :held_span] = getattr(self, name)
            setattr(self, name, grown)
        lengths = np.zeros(rows, np.int64)
        lengths[:held_rows] = self._lengths
        self._lengths = lengths


@dataclass(frozen=True, slots=True)
class CacheView:
    """The rows of one forward pass: [L, B, K, capacity, d] keys and values, and where to write."""

    keys: Array
    values: Array
    lengths: NDArray[np.int64]
    span: int
    steps: int

    def write(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """Store [B, T, K, d] after what is there; return the [B, K, span, d] keys and values of the layer."""
        keys, values = self.keys[layer], self.values[layer]
        if self.steps == 1:
            rows = np.arange(len(self.lengths))
            keys[rows, :, self.lengths] = k[:, 0]
            values[rows, :, self.lengths] = v[:, 0]
        else:
            for row, length in enumerate(self.lengths.tolist()):
                keys[row, :, length : length + self.steps] = k[row].swapaxes(0, 1)
                values[row, :, length : length + self.steps] = v[row].swapaxes(0, 1)
        return keys[:, :, : self.span], values[:, :, : self.span]

    def commit(self) -> None:
        """Count the tokens as held, once every layer has written them."""
        np.add(self.lengths, self.steps, out=self.lengths)
