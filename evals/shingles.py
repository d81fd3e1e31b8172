"""Runs of words, hashed: what near-duplicates and leaks are found by. All texts at once, as flat arrays."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_WORD = re.compile(r"\w+")
_BASE = np.uint64(1_000_003)


@dataclass(frozen=True, slots=True, eq=False)
class ShingleHashes:
    """Hashes of texts one after the other.

    Attributes:
        values: The hashes, shape (k,).
        owner: Number of the text of each, rising, shape (k,).
        texts: How many texts.
    """

    values: Hashes
    owner: Ints
    texts: int

    def where(self, kept: npt.NDArray[np.bool_]) -> ShingleHashes:
        """Some of them, chosen by a mask of shape (k,)."""
        return ShingleHashes(self.values[kept], self.owner[kept], self.texts)

    def bounds(self) -> Ints:
        """Text i has the hashes from bound i to bound i + 1, shape (texts + 1,)."""
        return np.searchsorted(self.owner, np.arange(self.texts + 1))


def hashed_words(texts: Sequence[str], least: int) -> ShingleHashes:
    """The words of each text in order, whatever their case; zeros make up for those missing to `least`.

    A text without a word, of signs alone, counts as a single word.
    """
    hashed = cache(lambda word: zlib.crc32(word.encode()))
    values: list[int] = []
    lengths: list[int] = []
    for text in texts:
        words = _WORD.findall(text.lower()) or [text]
        missing = max(0, least - len(words))
        values += [hashed(word) for word in words]
        values += [0] * missing
        lengths.append(len(words) + missing)
    return ShingleHashes(np.array(values, dtype=np.uint64), np.repeat(np.arange(len(texts)), lengths), len(texts))


def shingles(words: ShingleHashes, size: int) -> ShingleHashes:
    """The runs of `size` words in each text, without repetition, those of a text in rising order."""
    runs = max(0, words.values.size - size + 1)
    hashed = np.zeros(runs, dtype=np.uint64)
    for k in range(size):
        # Wraps around modulo 2^64 on purpose: a polynomial hash.
        hashed = hashed * _BASE + words.values[k : k + runs]
    first = words.owner[:runs]
    within = first == words.owner[words.owner.size - runs :]
    values, owner = hashed[within], first[within]
    order = np.lexsort((values, owner))
    values, owner = values[order], owner[order]
    new = np.ones(values.size, dtype=np.bool_)
    new[1:] = (values[1:] != values[:-1]) | (owner[1:] != owner[:-1])
    return ShingleHashes(values[new], owner[new], words.texts)
