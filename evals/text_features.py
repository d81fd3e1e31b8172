"""Plain text features for research baselines: TF-IDF of words and word pairs, projected by a truncated SVD.

Latent semantic analysis (Deerwester et al. 1990), the feature set of the routing literature's simple baselines. Nothing
of the product uses it: it is what a router has to be better than.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DIMENSIONS = 256
_WORDS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class TextFeatures:
    """Unit vectors of the prompts of a trial.

    Attributes:
        train: Shape (n_train, d).
        test: Shape (n_test, d).
    """

    train: Floats
    test: Floats


def text_features(train: Sequence[str], test: Sequence[str], seed: int = 0) -> TextFeatures:
    """Features of a trial, their vocabulary and projection fitted on the train prompts.

    Where no prompt has a word in it all vectors are zero: nothing is told apart.
    """
    vectors, project = _projection(train, seed)
    return TextFeatures(vectors, project(test))


def pooled_features(texts: Sequence[str], seed: int = 0) -> Floats:
    """Features fitted on all given texts (and on no score), for folds that are cut from them; shape (n, d)."""
    vectors, _ = _projection(texts, seed)
    return vectors


def _projection(texts: Sequence[str], seed: int) -> tuple[Floats, Callable[[Sequence[str]], Floats]]:
    """Vectors of the texts, and what makes those of others."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    # A word that stands in a single prompt can relate no two of them; in tiny tables every word counts.
    rare = 2 if len(texts) >= 200 else 1
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=rare, max_features=_WORDS, sublinear_tf=True, dtype=np.float32)
    try:
        counted = words.fit_transform(texts)
    except ValueError:  # an empty vocabulary: prompts of signs alone
        return np.zeros((len(texts), 1)), lambda others: np.zeros((len(others), 1))
    dimensions = min(_DIMENSIONS, min(counted.shape) - 1)
    fitted = TruncatedSVD(dimensions, random_state=seed, n_iter=2).fit(counted) if dimensions > 0 else None

    def vectors(counts: Any) -> Floats:
        projected = counts.toarray() if fitted is None else fitted.transform(counts)
        return np.asarray(normalize(projected), dtype=np.float64)

    return vectors(counted), lambda others: vectors(words.transform(others))
