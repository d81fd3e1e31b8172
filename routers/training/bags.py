"""Bags of tokens: counts, document frequencies and TF-IDF rows as `pointsman.routers.embed.lexical` computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pointsman.routers.embed.words import TokenIds
from pointsman.routers.types import FloatArray

#: A token must stand in that many training prompts to count: one alone is noise.
MIN_DOCUMENTS = 2


def count_tokens(token_ids: Sequence[TokenIds], vocab: int) -> Any:
    """Token counts as a CSR matrix, float32, shape (n, vocab)."""
    from scipy.sparse import csr_matrix

    lengths = [len(ids) for ids in token_ids]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([np.zeros(0, np.intc), *token_ids])
    counts = csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=(len(lengths), vocab))
    counts.sum_duplicates()
    return counts


def inverse_document_frequency(counts: Any) -> FloatArray:
    """`ln((1 + n) / (1 + df)) + 1` per token, 0 for tokens of fewer than two documents; float32, shape (vocab,)."""
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log((1.0 + counts.shape[0]) / (1.0 + documents)) + 1.0
    return np.where(documents >= MIN_DOCUMENTS, idf, 0.0).astype(np.float32)


def tfidf(counts: Any, idf: FloatArray) -> Any:
    """Unit rows of `idf_t (1 + ln n_t)`, CSR, float32, shape (n, vocab)."""
    rows = counts.copy()
    rows.data = (1.0 + np.log(rows.data)) * idf[rows.indices]
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(rows.indptr))
    return rows.astype(np.float32)
