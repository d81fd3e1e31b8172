"""Plain text features for research baselines: TF-IDF of words and word pairs, projected by a truncated SVD.

Latent semantic analysis (Deerwester et al. 1990), the feature set of the routing literature's simple baselines. Nothing
of the product uses it: it is what a router has to be better than.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    vectors = _projected(train, [*train, *test], seed)
    return TextFeatures(vectors[: len(train)], vectors[len(train) :])


def pooled_features(texts: Sequence[str], seed: int = 0) -> Floats:
    """Features fitted on all given texts (and on no score), for folds that are cut from them; shape (n, d)."""
    return _projected(texts, texts, seed)


def _projected(fitted_on: Sequence[str], texts: Sequence[str], seed: int) -> Floats:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    # A word that stands in a single prompt can relate no two of them; in tiny tables every word counts.
    rare = 2 if len(fitted_on) >= 200 else 1
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=rare, max_features=_WORDS, sublinear_tf=True, dtype=np.float32)
    try:
        counted = words.fit_transform(fitted_on)
    except ValueError:  # an empty vocabulary: prompts of signs alone
        return np.zeros((len(texts), 1))
    dimensions = min(_DIMENSIONS, min(counted.shape) - 1)
    if dimensions < 1:
        return np.asarray(normalize(words.transform(texts).toarray()), dtype=np.float64)
    projection = TruncatedSVD(dimensions, random_state=seed, n_iter=2, power_iteration_normalizer="QR").fit(counted)
    return np.asarray(normalize(projection.transform(words.transform(texts))), dtype=np.float64)
