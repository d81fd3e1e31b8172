"""Token streams: documents and conversations of one domain as one long array, sampled in random windows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pointsman.experts.nano.tokenizer import render_chat
from pointsman.experts.nano.training.conversations import conversations_of
from pointsman.experts.nano.training.corpora import DOMAINS, CorpusDocument, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_EOT_ID = 0


def build_streams(
    documents: Sequence[CorpusDocument], tokenizer: Tokenizer, seed: int
) -> dict[str, NDArray[np.uint16]]:
    """Domain -> token ids: every training document after an end-of-text token, every conversation, shuffled."""
    streams = {}
    for domain in DOMAINS:
        texts: list[tuple[bool, str]] = []
        for document in documents:
            if document.domain == domain and document.split is Split.TRAIN:
                texts.append((True, document.text))
                texts.extend(
                    (False, render_chat((("user", user), ("assistant", answer))))
                    for user, answer in conversations_of(document, seed)
                )
        random.Random(f"{seed}:{domain}").shuffle(texts)
        ids: list[int] = []
        for (plain, _), encoding in zip(texts, tokenizer.encode_batch([text for _, text in texts]), strict=True):
            if plain:
                ids.append(_EOT_ID)
            ids.extend(encoding.ids)
        streams[domain] = np.array(ids, dtype=np.uint16)
    return streams


class WindowSampler:
    """Draws windows: the domain by its share, the place uniformly.

    Args:
        streams: Domain -> token ids.
        mixture: Domain -> share.
        seed: Makes the draws reproducible.
    """

    def __init__(self, streams: Mapping[str, NDArray[np.uint16]], mixture: Mapping[str, float], seed: int) -> None:
        self._domains = sorted(mixture)
        self._streams = streams
        shares = np.array([mixture[domain] for domain in self._domains])
        self._shares = shares / shares.sum()
        self._rng = np.random.default_rng(seed)

    def draw(self, windows: int, window_tokens: int) -> NDArray[np.int64]:
        """[windows, window_tokens + 1] token ids: inputs are all but the last column, targets all but the first."""
        rows = []
        for index in self._rng.choice(len(self._domains), size=windows, p=self._shares):
            stream = self._streams[self._domains[index]]
            start = int(self._rng.integers(0, len(stream) - window_tokens - 1))
            rows.append(stream[start : start + window_tokens + 1])
        return np.stack(rows).astype(np.int64)
