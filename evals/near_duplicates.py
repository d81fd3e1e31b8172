"""Near-duplicate prompts: for clustered resampling, and to see whether the test split leaks into the train split.

MinHash over word 5-grams with banding (Broder 1997; 32 bands of 4 rows), then the exact Jaccard similarity of each
candidate pair. 5-grams that stand in very many prompts are the data set's template ("Answer with A, B, C or D"), not
evidence that two prompts are one, and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pointsman.evals.shingles import Hashes, Ints, ShingleHashes, hashed_words, shingles

#: Words in a row.
SHINGLE = 5

_BANDS = 32
_ROWS = 4


def near_duplicate_clusters(texts: Sequence[str], similarity: float = 0.8) -> Ints:
    """Cluster texts whose word 5-grams have a Jaccard similarity of at least `similarity` (transitively).

    Args:
        texts: n texts.
        similarity: In (0, 1].

    Returns:
        Cluster number of each text, shape (n,); numbers are those of the clusters' first members.
    """
    return clusters_of(hashed_words(texts, SHINGLE), similarity)


def clusters_of(words: ShingleHashes, similarity: float = 0.8) -> Ints:
    """`near_duplicate_clusters` of texts whose words are hashed already, at least `SHINGLE` of each."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not words.texts:
        return np.empty(0, dtype=np.int64)
    grams = _without_templates(shingles(words, SHINGLE))
    bounds = grams.bounds()
    own = [grams.values[start:end] for start, end in pairwise(bounds)]
    pairs = [(i, j) for i, j in _candidates(grams) if _jaccard(own[i], own[j]) >= similarity]
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    linked = coo_array((np.ones(len(pairs)), (one, other)), shape=(words.texts, words.texts))
    _, label = connected_components(linked, directed=False)
    _, first = np.unique(label, return_index=True)
    return np.asarray(first[label], dtype=np.int64)


def _without_templates(grams: ShingleHashes) -> ShingleHashes:
    """Drop n-grams found in more than 10 texts and more than 0.2 % of them; a text made of those alone keeps them."""
    _, which, texts_with = np.unique(grams.values, return_inverse=True, return_counts=True)
    telling = texts_with[which] <= max(10, 0.002 * grams.texts)
    told = np.bincount(grams.owner[telling], minlength=grams.texts) > 0
    return grams.where(telling | ~told[grams.owner])


def _candidates(grams: ShingleHashes) -> list[tuple[int, int]]:
    """Pairs of texts that agree in a band of their signatures."""
    rng = np.random.default_rng(0)  # fixed hash functions: the same texts always make the same clusters
    # Odd factors modulo 2^64: every function is a permutation of the grams, of which a text's least is taken.
    factors = rng.integers(0, 1 << 63, (_BANDS, _ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = grams.values ^ (grams.values >> np.uint64(33))
    starts = grams.bounds()[:-1]
    found: set[tuple[int, int]] = set()
    for band in factors:
        key: Hashes = np.zeros(grams.texts, dtype=np.uint64)
        for factor in band:
            key = key * factors[0, 0] + np.minimum.reduceat(mixed * factor, starts)
        order = np.argsort(key, kind="stable")
        # A chain is enough for transitive clusters of true duplicates and keeps large buckets linear.
        same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
        found.update(zip(order[same].tolist(), order[same + 1].tolist(), strict=True))
    return sorted(found)


def _jaccard(a: Hashes, b: Hashes) -> float:
    shared = np.intersect1d(a, b, assume_unique=True).size
    return float(shared / (a.size + b.size - shared))
