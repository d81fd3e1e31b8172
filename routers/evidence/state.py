"""The state after some answers, as numbers: the same features for fitting, replay and serving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, Floats, Ints
from pointsman.routers.evidence.vote import VoteModel, group_answers, logit


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """n prompts that the same experts were asked about.

    Attributes:
        features: Shape (n, d); d depends on the members that were asked.
        leader: Place among those asked of the expert that first gave the leading answer, shape (n,); -1 where nobody
            answered.
        supporters: Who gave the leading answer, shape (n, s).
    """

    features: Floats
    leader: Ints
    supporters: npt.NDArray[np.bool_]


def read_state(
    vote: VoteModel,
    asked: tuple[int, ...],
    quality: Figures,
    codes: Ints,
    completion_tokens: Figures,
) -> State:
    """Read n prompts after the same experts answered.

    Args:
        vote: Over k members.
        asked: Members asked, ascending, s of them; none at the start.
        quality: Predicted quality of all members, shape (n, k).
        codes: Answers of those asked, negative for none, shape (n, s).
        completion_tokens: Of those asked, NaN where unknown, shape (n, s).
    """
    n, size = len(quality), len(asked)
    start = np.column_stack([np.ones(n), quality])
    if not asked:
        return State(start, np.full(n, -1), np.zeros((n, 0), dtype=np.bool_))
    experts = np.array(asked)
    groups = group_answers(codes)
    surprise = vote.surprise(experts, completion_tokens)
    posterior = vote.posterior(experts, groups, quality[:, experts], surprise)
    right = posterior[:, :-1]
    leader = np.where((groups >= 0).any(axis=1), right.argmax(axis=1), -1)
    belief = right.max(axis=1)
    supporters = (groups == leader[:, None]) & (leader >= 0)[:, None]
    agreements = [(groups[:, i] == groups[:, j]) & (groups[:, i] >= 0) for i in range(size) for j in range(i + 1, size)]
    features = np.column_stack(
        [
            start,
            belief,
            np.sort(right, axis=1)[:, -2] if size > 1 else np.zeros(n),
            posterior[:, -1],
            belief**2,
            logit(belief),
            supporters,
            supporters * surprise,
            supporters * belief[:, None],
            *agreements,
        ]
    )
    return State(features, leader, supporters)
