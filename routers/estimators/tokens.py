"""How long will the answer be? Mean and 95 % quantile per expert and category, mixed by the posterior.

    E[l_out] = Σ_c p(c|x) mean_nc,     l_out^95 = κ Σ_c p(c|x) q95_nc

A mixture of quantiles is not the quantile of the mixture; κ >= 1 is fitted on held-out prompts so that at most 5 % of
answers are longer. Cells without enough answers take the expert's own figures over all categories.

The quantile bounds the answers to prompts like those it was fitted on. Where that is no evidence of the present prompt,
an answer may be as long as the request, or the expert, lets it be (`worst_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.assessment import probabilities
from pointsman.routers.types import AnswerLengths, Classification, Figures, FloatArray

#: Mean and 95 % quantile where nothing at all is known of an expert's answers: a typical chat answer, and a long one.
#: (Azure's conversation trace of 2023 has a mean of 211 generated tokens; papers' chat sets have 95 % below 1,024.)
UNKNOWN_COMPLETION_TOKENS = (256.0, 1024.0)
#: Answers that are all shorter than a sentence or two were asked for in that form: a letter, a number, a label. They
#: say nothing about the length of an answer to a prompt that does not.
CLOSED_ANSWER_TOKENS = 32.0


def worst_tokens(q95: Column, stated: Column) -> Column:
    """The length that an answer may well have, before the context window ends it.

    Args:
        q95: Fitted 95 % quantiles, NaN where nothing was fitted.
        stated: Where the request, or else the expert's operator, says that answers end; infinite where nobody does.

    Returns:
        The quantile where it is evidence, else what is stated, else `UNKNOWN_COMPLETION_TOKENS`.
    """
    unbounded = np.where(np.isfinite(stated), stated, UNKNOWN_COMPLETION_TOKENS[1])
    # NaN compares as false, which is meant.
    return np.where(q95 >= CLOSED_ANSWER_TOKENS, q95, unbounded)


class CompletionTokens:
    """Predicted answer lengths.

    Args:
        experts: Artefact names, m of them.
        categories: The classifier's categories, C of them.
        mean: Tokens, shape (m, C).
        q95: Tokens, shape (m, C), κ already multiplied in.
    """

    def __init__(self, experts: Sequence[str], categories: Sequence[str], mean: FloatArray, q95: FloatArray) -> None:
        self._experts = tuple(experts)
        self._categories = tuple(categories)
        self._mean = mean
        self._q95 = q95
        self._stacked = np.concatenate([mean, q95]).astype(np.float32)

    def estimate(self, classification: Classification) -> AnswerLengths:
        """Expected length and 95 % quantile of every expert's answer; the quantile is never below the expectation."""
        return AnswerLengths.later(self._experts, partial(self._lengths, classification.posterior))

    def _lengths(self, posterior: Mapping[str, float]) -> tuple[Figures, Figures]:
        values = self._stacked @ probabilities(posterior, self._categories)
        count = len(self._experts)
        return values[:count], np.maximum(values[:count], values[count:])

    def spec(self) -> Mapping[str, Any]:
        """What a manifest says of these predictions."""
        return {"experts": list(self._experts), "categories": list(self._categories)}

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """What an artefact stores of these predictions."""
        return {"tokens.mean": self._mean, "tokens.q95": self._q95}

    @classmethod
    def from_parts(cls, spec: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> CompletionTokens:
        """The inverse of `spec` and `tensors`."""
        return cls(
            [str(name) for name in spec["experts"]],
            [str(name) for name in spec["categories"]],
            tensors["tokens.mean"],
            tensors["tokens.q95"],
        )
