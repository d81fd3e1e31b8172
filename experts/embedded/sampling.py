"""From logits to a token: greedy, or temperature with top-k and nucleus filtering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: Keep the likeliest tokens whose probabilities sum to at least this (nucleus sampling, arXiv 1904.09751).
        top_k: Keep at most so many; 0 for all.
        seed: None for a fresh one.
    """

    temperature: float
    top_p: float
    top_k: int = 0
    seed: int | None = None


def choose(logits: NDArray[np.float32], sampling: Sampling, rng: np.random.Generator) -> int:
    """The next token's id from [V] logits; one draw from `rng` unless greedy."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
    probabilities = np.exp(scaled)
    probabilities /= probabilities.sum()
    keep = sampling.top_k or len(probabilities)
    if sampling.top_p >= 1 and keep >= len(probabilities):
        cumulative = probabilities.cumsum()
        return int(min(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"), len(cumulative) - 1))
    order = np.argsort(-probabilities, kind="stable")
    cumulative = probabilities[order].cumsum()
    # The token that reaches top_p still belongs to the nucleus, so that one always remains.
    kept = min(int(cumulative.searchsorted(sampling.top_p, side="left")) + 1, keep, len(order))
    drawn = rng.random() * cumulative[kept - 1]
    return int(order[min(int(cumulative[:kept].searchsorted(drawn, side="right")), kept - 1)])
