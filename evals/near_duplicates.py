"""Near-duplicate prompts: for clustered resampling, and to see whether the test split leaks into the train split.

MinHash over word 5-grams with banding (Broder 1997; 32 bands of 4 rows), then the exact Jaccard similarity of each
candidate pair. 5-grams that stand in very many prompts are the data set's template ("Answer with A, B, C or D"), not
evidence that two prompts are one, and are left out.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")
_SHINGLE = 5
_BANDS = 32
_ROWS = 4
_PRIME = np.uint64((1 << 31) - 1)


def near_duplicate_clusters(texts: Sequence[str], similarity: float = 0.8) -> npt.NDArray[np.int64]:
    """Cluster texts whose word 5-grams have a Jaccard similarity of at least `similarity` (transitively).

    Args:
        texts: n texts.
        similarity: In (0, 1].

    Returns:
        Cluster number of each text, shape (n,); numbers are those of the clusters' first members.
    """
    grams = _without_templates([shingles(text) for text in texts])
    parent = np.arange(len(texts), dtype=np.int64)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for i, j in _candidates(grams):
        a, b = root(i), root(j)
        if a != b and _jaccard(grams[i], grams[j]) >= similarity:
            parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(len(texts))], dtype=np.int64)


def shingles(text: str, size: int = _SHINGLE) -> npt.NDArray[np.uint64]:
    """Hashes of the runs of `size` words in a text, sorted and without repetition; never empty."""
    words = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    if not words.size:
        # Nothing but signs: the raw text is its own single shingle.
        return np.array([zlib.crc32(text.encode())], dtype=np.uint64)
    if words.size < size:
        words = np.concatenate([words, np.zeros(size - words.size, dtype=np.uint64)])
    hashed = np.zeros(words.size - size + 1, dtype=np.uint64)
    for k in range(size):
        # Wraps around modulo 2^64 on purpose: a polynomial hash.
        hashed = hashed * np.uint64(1_000_003) + words[k : words.size - size + 1 + k]
    return np.unique(hashed)


def _without_templates(grams_of: Sequence[npt.NDArray[np.uint64]]) -> list[npt.NDArray[np.uint64]]:
    """Drop n-grams found in more than 10 texts and more than 0.2 % of them; a text made of those alone keeps them."""
    grams, texts_with = np.unique(np.concatenate(grams_of), return_counts=True) if grams_of else (np.array([]),) * 2
    template = grams[texts_with > max(10, 0.002 * len(grams_of))]
    own = [np.setdiff1d(one, template, assume_unique=True) if template.size else one for one in grams_of]
    return [kept if kept.size else one for kept, one in zip(own, grams_of, strict=True)]


def _candidates(shingles: Sequence[npt.NDArray[np.uint64]]) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng(0)  # fixed hash functions: the same texts always make the same clusters
    size = _BANDS * _ROWS
    factor = rng.integers(1, int(_PRIME), size, dtype=np.uint64)
    shift = rng.integers(0, int(_PRIME), size, dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for i, grams in enumerate(shingles):
        small = (grams ^ (grams >> np.uint64(33))) % _PRIME
        signature = ((small[:, None] * factor + shift) % _PRIME).min(axis=0).reshape(_BANDS, _ROWS)
        for band in range(_BANDS):
            buckets[band, signature[band].tobytes()].append(i)
    seen: set[tuple[int, int]] = set()
    for members in buckets.values():
        # A chain is enough for transitive clusters of true duplicates and keeps large buckets linear.
        for pair in pairwise(members):
            if pair not in seen:
                seen.add(pair)
                yield pair


def _jaccard(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> float:
    shared = np.intersect1d(a, b, assume_unique=True).size
    return float(shared / (a.size + b.size - shared))
