"""Runs a policy on prompts whose answers are all known, for fitting and for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Floats, Ints
from pointsman.routers.evidence.policy import SequentialPolicy, set_members


@dataclass(frozen=True, slots=True, eq=False)
class EvidencePolicyTrace:
    """What a policy did on n prompts with k members.

    Attributes:
        calls: Who was asked, shape (n, k).
        accepted: Member whose answer was accepted, shape (n,); -1 for none.
        belief: Probability with which it was accepted, shape (n,); NaN for none.
    """

    calls: npt.NDArray[np.bool_]
    accepted: Ints
    belief: Floats


def ask(
    policy: SequentialPolicy, quality: Floats, codes: Ints, completion_tokens: Floats, prices: Floats
) -> EvidencePolicyTrace:
    """Let the policy ask its members one after the other.

    Args:
        policy: With k members.
        quality: Predicted quality, shape (n, k).
        codes: What each member answers if asked, shape (n, k).
        completion_tokens: Of those answers, NaN where unknown, shape (n, k).
        prices: Of one call in units of quality, shape (n, k).
    """
    n, k = len(quality), len(policy.members)
    now = np.zeros(n, dtype=np.int64)
    accepted, belief = np.full(n, -1), np.full(n, np.nan)
    follow = policy.nearest(prices)
    open_ = np.ones(n, dtype=np.bool_)
    while open_.any():
        for index in np.unique(now[open_]):
            rows = np.flatnonzero(open_ & (now == index))
            asked = set_members(int(index))
            columns = list(asked)
            ahead = policy.outlook(asked, quality[rows], codes[rows][:, columns], completion_tokens[rows][:, columns])
            value = ahead.value(prices[rows], follow[rows]) if ahead.members else np.full((len(rows), 1), -np.inf)
            stop = (ahead.accept >= value.max(axis=1)) | (not ahead.members)
            ended = rows[stop]
            leader = ahead.state.leader[stop]
            accepted[ended] = np.where(leader >= 0, np.array(columns or [0])[np.maximum(leader, 0)], -1)
            belief[ended] = np.where(leader >= 0, ahead.accept[stop], np.nan)
            open_[ended] = False
            on = ~stop
            if on.any():
                now[rows[on]] |= 1 << np.array(ahead.members)[value[on].argmax(axis=1)]
    return EvidencePolicyTrace((now[:, None] >> np.arange(k) & 1).astype(np.bool_), accepted, belief)
