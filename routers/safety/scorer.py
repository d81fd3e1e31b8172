"""A score of how likely a prompt asks for harm: a logistic model of its embedding and of signs in its wording.

    score = σ(wᵉ·v + wˢ·s + b)

MoGU (arXiv 2405.14488) trains such a score within a language model, to blend a usable and a safe variant of it token by
token. Here it is asked once, of the whole prompt, and decides which expert answers. What it was fitted on stands in the
model's manifest: a few hundred sentences written for the purpose, beside ordinary prompts. It is a first screen that
reads English, not a judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pointsman.routers.errors import ArtifactError
from pointsman.routers.null_experts.examples import unit
from pointsman.routers.protocols import Embedder
from pointsman.routers.safety.signs import SIGNS, signs
from pointsman.routers.types import FloatArray

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
#: Characters of a text that is scored as a whole; a longer one would drown a sentence within it.
_WHOLE_CHARS: Final = 2_000
#: A piece is this long at most.
_PIECE_CHARS: Final = 400
#: Pieces that are scored from either end of a text, and the characters that are looked at for them.
_END_PIECES: Final = 24
_END_CHARS: Final = _END_PIECES * _PIECE_CHARS
#: Signs that speak for harm, and how much weight one needs to be told.
_TOLD: Final = 0.5


@dataclass(frozen=True, slots=True)
class SafetyScore:
    """What is made of one prompt.

    Attributes:
        score: From 0 (asks for nothing bad) to 1; uncalibrated beyond what it was fitted on.
        signs: The signs in its wording that speak for harm, the weightiest first; may be empty.
    """

    score: float
    signs: tuple[str, ...]


#: Of a prompt without text.
NOTHING_SAID: Final = SafetyScore(0.0, ())


class SafetyScorer:
    """The fitted score.

    Args:
        embedder: The one it was fitted with.
        embedding: Weights of the embedding, shape (dim,).
        wording: Weights of the signs, shape (len(SIGNS),).
        bias: Added.
    """

    def __init__(self, embedder: Embedder, embedding: FloatArray, wording: FloatArray, bias: float) -> None:
        if embedding.shape != (embedder.dim,) or wording.shape != (len(SIGNS),):
            raise ArtifactError("the safety model was fitted with another embedder, or other signs")
        self._embedder = embedder
        self.embedding = embedding
        self.wording = wording
        self.bias = bias

    def judge(self, text: str) -> SafetyScore:
        """Score a text by the worst of its pieces, and of the whole where that is short."""
        parts = pieces(text)
        if not parts:
            return NOTHING_SAID
        wording = np.array([signs(part) for part in parts], dtype=np.float32)
        vectors = unit(self._embedder.embed(parts))
        logits = vectors @ self.embedding + wording @ self.wording + self.bias
        worst = int(logits.argmax())
        weights = wording[worst] * self.wording
        told = [SIGNS[index] for index in np.argsort(-weights) if weights[index] > _TOLD]
        return SafetyScore(float(1.0 / (1.0 + np.exp(-logits[worst]))), tuple(told))

    def only(self, *, embedding: bool = True, wording: bool = True) -> SafetyScorer:
        """The score without one of its parts, whose weights are zero."""
        return SafetyScorer(
            self._embedder, self.embedding * np.float32(embedding), self.wording * np.float32(wording), self.bias
        )


def pieces(text: str) -> list[str]:
    """What of a text is scored: the whole where it is short, and its sentences where there are several.

    Of a long text the sentences at either end are read, 48 in all.
    """
    if len(text) > 2 * _END_CHARS:
        text = f"{text[:_END_CHARS]}\n{text[-_END_CHARS:]}"
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    short = [part[i : i + _PIECE_CHARS] for part in sentences for i in range(0, len(part), _PIECE_CHARS)]
    if len(short) > 2 * _END_PIECES:
        short = short[:_END_PIECES] + short[-_END_PIECES:]
    if len(short) == 1 or not text.strip():
        return short
    return [text, *short] if len(text) <= _WHOLE_CHARS else short
