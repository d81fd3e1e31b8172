"""Fit the sequential policy: backward induction over every set of members, on outcomes of all of them.

From the full set downwards, each state's worth is regressed on its features (ridge): what accepting brings, and for
every policy i and every member e not yet asked the quality accepted in the end and the calls made until then, when e
is asked and policy i followed. Regressing realised quality and calls, rather than fitted values, keeps the errors of
one level out of the next (as Longstaff and Schwartz, 2001, do for optimal stopping).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, FloatArray, Floats, Ints
from pointsman.routers.evidence.policy import SequentialPolicy, set_members
from pointsman.routers.evidence.state import State, read_state
from pointsman.routers.evidence.vote import VoteModel

#: What a call to the best single expert may be worth in quality, from a spendthrift policy to a miser.
RATES = (0.005, 0.02, 0.04, 0.08, 0.16, 0.4)

PENALTY = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceTrainingData:
    """Outcomes of k members on n prompts, every cell scored.

    Attributes:
        quality: Out-of-fold predictions, shape (n, k).
        codes: Answers, negative for none, shape (n, k).
        scores: Shape (n, k).
        completion_tokens: NaN where unknown, shape (n, k).
        spending: What one call to each member costs, in units of the best single expert's, shape (k,).
    """

    quality: Floats
    codes: Ints
    scores: Floats
    completion_tokens: Floats
    spending: Floats

    def of(self, members: npt.NDArray[np.integer]) -> EvidenceTrainingData:
        """The same for some of the members."""
        return EvidenceTrainingData(
            self.quality[:, members],
            self.codes[:, members],
            self.scores[:, members],
            self.completion_tokens[:, members],
            self.spending[members],
        )

    def rows(self, rows: npt.NDArray[np.integer]) -> EvidenceTrainingData:
        """The same for some of the prompts."""
        return EvidenceTrainingData(
            self.quality[rows], self.codes[rows], self.scores[rows], self.completion_tokens[rows], self.spending
        )


def fit_policy(
    evidence: EvidenceTrainingData,
    names: tuple[str, ...],
    vote: VoteModel,
    rates: tuple[float, ...] = RATES,
) -> SequentialPolicy:
    """Fit.

    Args:
        evidence: Of the members.
        names: Of the members.
        vote: Over the members.
        rates: One policy is fitted for each.
    """
    n, k = evidence.scores.shape
    sets = 2**k
    prices = np.array(rates)[:, None] * evidence.spending[None, :]
    kept: list[FloatArray] = [np.zeros((0, 0), dtype=np.float32)] * sets
    # Realised under each policy from each set on: quality accepted, and calls to each member.
    won = np.zeros((sets, len(rates), n), dtype=np.float32)
    calls = np.zeros((sets, len(rates), n, k), dtype=np.float32)
    for index in sorted(range(sets), key=lambda number: -number.bit_count()):
        asked = set_members(index)
        left = [member for member in range(k) if member not in asked]
        columns = list(asked)
        state = read_state(
            vote, asked, evidence.quality, evidence.codes[:, columns], evidence.completion_tokens[:, columns]
        )
        accepted = accepted_score(state, evidence.scores[:, columns])
        targets = np.zeros((n, len(rates), len(left), 1 + k), dtype=np.float32)
        for position, member in enumerate(left):
            after = index | 1 << member
            targets[:, :, position, 0] = won[after].T
            targets[:, :, position, 1:] = calls[after].transpose(1, 0, 2)
            targets[:, :, position, 1 + member] += 1
        weights = _ridge(state.features, np.column_stack([accepted, targets.reshape(n, -1)]))
        kept[index] = weights.astype(np.float32)
        told = state.features @ weights
        ahead = told[:, 1:].reshape(targets.shape)
        utility = ahead[..., 0] - np.einsum("nirk,ik->nir", ahead[..., 1:], prices, optimize=True)
        for i in range(len(rates)):
            won[index, i] = accepted
            if not left:
                continue
            best = utility[:, i].argmax(axis=1)
            on = np.flatnonzero((utility[:, i].max(axis=1) > told[:, 0]) | (state.leader < 0))
            won[index, i, on] = targets[on, i, best[on], 0]
            calls[index, i, on] = targets[on, i, best[on], 1:]
    return SequentialPolicy(names, vote, evidence.spending, np.array(rates), tuple(kept))


def accepted_score(state: State, scores: Figures) -> Floats:
    """Score of the leading answer, shape (n,); 0 where nobody answered: to accept nothing is to fail."""
    if not scores.shape[1]:
        return np.zeros(len(scores))
    found = scores[np.arange(len(scores)), np.maximum(state.leader, 0)]
    return np.asarray(np.where(state.leader >= 0, found, 0.0))


def _ridge(features: Floats, targets: Figures) -> Floats:
    """Least squares with a penalty on everything but the first feature, which is the constant."""
    gram = features.T @ features
    gram[np.diag_indices_from(gram)] += np.where(np.arange(len(gram)) > 0, PENALTY, 1e-9)
    return np.asarray(np.linalg.solve(gram, features.T @ targets), dtype=np.float64)
