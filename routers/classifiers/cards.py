"""What an expert's card says: one sentence of description, read as the categories it claims.

A claim rests on two readings of the card:

    s_c = cos(v(card), v(name of c)),   claim_c = max(ramp(s_c), p(c|card) [s_c >= 0.2]),   ramp: 0.4 -> 0, 0.5 -> 1

Similarity to the category's own name decides alone where it is high. The classifier was trained on prompts, and on
sentences that praise a model it may be sure and wrong; it counts where the name agrees. Claims are divided by the
largest; a card whose largest is below 0.3 ("fast and cheap") describes no domain. Categories without a telling name
(clusters) are claimed by no card.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pointsman.routers.embed import plain_embedder
from pointsman.routers.protocols import Classifier, Embedder

#: Similarity to a category's name at which a claim begins without the classifier, and at which it is full.
NAMED_FROM, NAMED_FULL = 0.4, 0.5

#: Similarity to the name from which the classifier's reading counts.
AGREES_FROM = 0.2

#: Largest claim below which a card describes no domain.
LEAST_CLAIM = 0.3


class CardReader:
    """Reads cards with a router's own embedder and classifier; every card once.

    Args:
        embedder: Text to vector.
        classifier: Vector to category posterior.
    """

    def __init__(self, embedder: Embedder, classifier: Classifier) -> None:
        self._embedder = embedder
        self._classifier = classifier
        self._names: npt.NDArray[np.floating] | None = None
        self._read: dict[str, Mapping[str, float] | None] = {}

    def claims(self, card: str) -> Mapping[str, float] | None:
        """Category -> claim in (0, 1], the largest 1; None where a card describes no domain."""
        if card not in self._read:
            self._read[card] = self._claims(card)
        return self._read[card]

    def _claims(self, card: str) -> Mapping[str, float] | None:
        if not card.strip():
            return None
        plain = plain_embedder(self._embedder)
        categories = self._classifier.categories
        if self._names is None:
            self._names = plain.embed([name.replace("_", " ") for name in categories])
        similar = self._names @ plain.embed([card])[0]
        read = self._classifier.classify(self._embedder.embed([card])[0]).posterior
        posterior = np.array([read[name] for name in categories])
        named = np.clip((similar - NAMED_FROM) / (NAMED_FULL - NAMED_FROM), 0.0, 1.0)
        claims = np.maximum(named, np.where(similar >= AGREES_FROM, posterior, 0.0))
        largest = float(claims.max(initial=0.0))
        if largest < LEAST_CLAIM:
            return None
        return {name: claim / largest for name, claim in zip(categories, claims.tolist(), strict=True) if claim > 0.0}
