"""Which answer is right, given who gave it: a weighted vote with calibrated weights and correlated voters.

A conditional logit over the answers seen and the possibility that none of them is right. Of answer k, given by the
experts V_k,

    s_k = Σ_{e ∈ V_k} (α_e + β_e logit q_e(x) + τ_e z_e) + Σ_{e < f ∈ V_k} γ_ef
    s_0 = δ_0 - δ_1 Σ_e logit q_e(x) + Σ_{e refused} ρ_e
    P(k | answers) = exp s_k / (exp s_0 + Σ_j exp s_j)

q_e(x) is the predicted quality of the expert on this prompt, z_e how long its answer is by its own habits. The pair
terms γ say what an agreement is worth: two experts of one family agree on wrong answers too, and theirs is negative.
Without pair terms and with α = 0, β = 1 this is the log-odds weighted vote that is optimal for independent voters
(Nitzan and Paroush, 1982).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, Floats, Ints

#: Codes below zero are not answers: the expert refused, or no answer was found in what it said.
NO_ANSWER = -1

_LEAST = 0.02


def logit(probability: Figures) -> Floats:
    """Log-odds of probabilities kept within [0.02, 0.98]: no prediction is surer than that."""
    kept = np.clip(np.asarray(probability, dtype=np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(kept / (1 - kept)))


def group_answers(codes: npt.NDArray[np.integer]) -> Ints:
    """Number the different answers of each row by who gave them first.

    Args:
        codes: What each expert asked answered, shape (n, s); equal numbers are equal answers, negative is none.

    Returns:
        Column of the first expert with the same answer, shape (n, s); -1 where there is no answer.
    """
    same = (codes[:, :, None] == codes[:, None, :]) & (codes[:, :, None] >= 0)
    return np.where(codes >= 0, same.argmax(axis=2), NO_ANSWER).astype(np.int64)


def surprise(completion_tokens: Figures, mean: Floats, std: Floats) -> Floats:
    """How far ln(1 + tokens) is from an expert's mean, in standard deviations within [-3, 3]; 0 where unknown.

    Args:
        completion_tokens: Shape (n, s), NaN where unknown.
        mean: Shape (s,).
        std: Shape (s,); 0 where lengths are unknown.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (np.log1p(completion_tokens) - mean) / std
    return np.asarray(np.where(np.isfinite(z) & (std > 0), np.clip(z, -3, 3), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class VoteModel:
    """The weights of the vote, over m experts.

    Attributes:
        bias: α, shape (m,).
        slope: β, shape (m,).
        length: τ, shape (m,).
        refusal: ρ, shape (m,).
        pair: γ, symmetric with a diagonal of zeros, shape (m, m).
        nobody: δ_0 and δ_1, shape (2,).
        length_mean: Mean of ln(1 + answer tokens), shape (m,).
        length_std: Its standard deviation, shape (m,); 0 where lengths are unknown.
    """

    bias: Floats
    slope: Floats
    length: Floats
    refusal: Floats
    pair: Floats
    nobody: Floats
    length_mean: Floats
    length_std: Floats

    def of(self, experts: npt.NDArray[np.integer]) -> VoteModel:
        """The vote over some of the experts."""
        parts = {name: getattr(self, name)[experts] for name in self.__slots__ if name not in ("pair", "nobody")}
        return VoteModel(**parts, pair=self.pair[np.ix_(experts, experts)], nobody=self.nobody)

    def surprise(self, experts: Ints, completion_tokens: Figures) -> Floats:
        """How much longer an answer is than the expert's usual ones, z within [-3, 3]; 0 where unknown.

        Args:
            experts: Columns, shape (s,).
            completion_tokens: Shape (n, s), NaN where unknown.
        """
        return surprise(completion_tokens, self.length_mean[experts], self.length_std[experts])

    def posterior(self, experts: Ints, groups: Ints, quality: Figures, surprise: Figures) -> Floats:
        """P(answer is right) for the answers of the same experts to n prompts.

        Args:
            experts: Who was asked, columns of the model, shape (s,).
            groups: From `group_answers`, shape (n, s).
            quality: Predicted quality of those experts, shape (n, s).
            surprise: From `surprise`, shape (n, s).

        Returns:
            Shape (n, s + 1): in column i the probability of the answer whose first giver is i (0 where i was not the
            first), in the last column that of none.
        """
        n, size = groups.shape
        odds = logit(quality)
        answered = groups >= 0
        support = self.bias[experts] + self.slope[experts] * odds + self.length[experts] * surprise
        members = groups[:, None, :] == np.arange(size)[None, :, None]
        score = np.full((n, size + 1), -np.inf)
        pairs = 0.5 * np.einsum("nki,ij,nkj->nk", members, self.pair[np.ix_(experts, experts)], members, optimize=True)
        seen = members.any(axis=2)
        score[:, :size] = np.where(seen, np.einsum("nki,ni->nk", members, support) + pairs, -np.inf)
        score[:, size] = (
            self.nobody[0]
            - self.nobody[1] * np.where(answered, odds, 0.0).sum(axis=1)
            + np.where(answered, 0.0, self.refusal[experts]).sum(axis=1)
        )
        score = np.exp(score - score.max(axis=1, keepdims=True))
        return np.asarray(score / score.sum(axis=1, keepdims=True))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays to store."""
        return {f"evidence.vote.{name}": getattr(self, name).astype(np.float32) for name in self.__slots__}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> VoteModel:
        """From stored arrays.

        Raises:
            KeyError: One is missing.
        """
        return cls(*(tensors[f"evidence.vote.{name}"].astype(np.float64) for name in cls.__slots__))
