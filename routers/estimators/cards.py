"""Quality of an expert that has only a card, one sentence on what it is good at.

The card claims categories (`classifiers/cards.py`). What follows from them for a prompt (GLIDER's idea: compare
domains, and trust a confident match):

    m(x) = Σ_c p(c|x) claim_c

Its quality lies between two levels, q(x) = out + m(x) (in - out): `in` is the best of the other experts' quality on
the prompt plus 0.02, a small optimism without which it would never be asked; `out` the lesser of its size prior and the
mean of the others. Where every expert has only a card, `in` is half way from the size prior to 1.

The prompt's own vector is not compared: an assessment may come from a cache that keeps no vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.types import Classification

#: What is expected of an expert in its own domain beyond the best of the others.
OPTIMISM = 0.02

#: Uncertainty of a quality that rests on a card: nobody has measured anything.
CARD_STD = 0.2

#: Match from which the prompt counts as one of the expert's domain.
CONFIDENT = 0.5


class Claims:
    """The cards of a pool's experts.

    Args:
        rows: Positions in the pool of the experts that are judged by their card, k of them.
        claims: Category -> claim of each.
        size_prior: Of each, shape (k,).
        pool: How many experts the pool has.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.intp],
        claims: Sequence[Mapping[str, float]],
        size_prior: Column,
        pool: int,
    ) -> None:
        self.rows = rows
        self._categories = tuple(sorted({category for one in claims for category in one}))
        self._claims = np.array([[one.get(category, 0.0) for category in self._categories] for one in claims])
        self._size_prior = size_prior
        self._others = np.setdiff1d(np.arange(pool), rows)

    def match(self, classification: Classification) -> Column:
        """m(x) of each, shape (k,)."""
        posterior = classification.posterior
        return np.asarray(self._claims @ np.array([posterior.get(name, 0.0) for name in self._categories]))

    def quality(self, classification: Classification, quality: Column) -> Column:
        """Expected quality of each, shape (k,).

        Args:
            classification: Of the prompt.
            quality: Of the whole pool; the rows of the others are read.
        """
        known = quality[self._others]
        return between(self.match(classification), self._size_prior, known if len(known) else None)


def between(match: Column, size_prior: Column, known: Column | None) -> Column:
    """The level between `out` and `in` at a match, all of shape (k,).

    Args:
        match: In [0, 1].
        size_prior: What an expert's size lets expect.
        known: Quality of the others, shape (n,); None when there are none.
    """
    if known is None:
        outside, inside = size_prior, (1.0 + size_prior) / 2.0
    else:
        outside = np.minimum(size_prior, known.mean())
        inside = np.full_like(size_prior, min(float(known.max()) + OPTIMISM, 1.0))
    return np.asarray(outside + match * np.maximum(inside - outside, 0.0))
