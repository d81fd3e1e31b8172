"""One step of the sequential policy on one prompt, for serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pointsman.routers.arrays import Figures, Floats
from pointsman.routers.evidence.policy import SequentialPolicy


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What one member answered.

    Attributes:
        code: Equal for equal answers; negative where there is none.
        completion_tokens: NaN where unknown.
    """

    code: int
    completion_tokens: float


@dataclass(frozen=True, slots=True)
class AskStep:
    """Ask these members, all at once, the one whose answer is wanted first.

    Attributes:
        members: Positions in the policy.
        value: Expected quality in the end less what the calls until then cost.
    """

    members: tuple[int, ...]
    value: float


@dataclass(frozen=True, slots=True)
class AcceptStep:
    """Accept the answer of this member.

    Attributes:
        member: Who gave the leading answer; of several, the one predicted best.
        belief: Probability that it is right.
        supporters: All who gave it.
    """

    member: int
    belief: float
    supporters: tuple[int, ...]


def next_step(
    policy: SequentialPolicy, quality: Figures, given: Mapping[int, MemberAnswer], prices: Floats, waiting: Floats
) -> AskStep | AcceptStep | None:
    """Ask on or accept.

    Where waiting has a price, a member who would probably be asked later anyway is asked at once: with probability p
    of being needed, asking early saves p times the shorter of the two waits and wastes (1 - p) times the rest of its
    price.

    Args:
        policy: With k members.
        quality: Predicted on this prompt, shape (k,).
        given: Member -> its answer.
        prices: Of one call in units of quality, waiting included; inf for a member that may not be asked; shape (k,).
        waiting: The part of the prices that pays for time, shape (k,).

    Returns:
        None when nobody answered and nobody is left to ask.
    """
    asked = tuple(sorted(given))
    codes = np.array([[given[member].code for member in asked]], dtype=np.int64).reshape(1, len(asked))
    tokens = np.array([[given[member].completion_tokens for member in asked]]).reshape(1, len(asked))
    ahead = policy.outlook(asked, quality[None, :], codes, tokens)
    follow = policy.nearest(prices[None, :])
    accept = float(ahead.accept[0])
    value = ahead.value(prices[None, :], follow)[0] if ahead.members else np.full(1, -np.inf)
    best = int(value.argmax())
    if np.isfinite(value[best]) and value[best] > accept:
        needed = ahead.calls[0, int(follow[0]), best]
        return AskStep(_at_once(ahead.members[best], ahead.members, needed, prices, waiting), float(value[best]))
    if not np.isfinite(accept):
        return None
    supporters = tuple(member for member, yes in zip(asked, ahead.state.supporters[0], strict=True) if yes)
    return AcceptStep(max(supporters, key=lambda member: float(quality[member])), accept, supporters)


def _at_once(first: int, left: tuple[int, ...], needed: Floats, prices: Floats, waiting: Floats) -> tuple[int, ...]:
    """The member to ask, and those worth asking beside it."""
    beside = [
        member
        for member in left
        if member != first
        and np.isfinite(prices[member])
        and needed[member] * min(waiting[first], waiting[member])
        > (1 - needed[member]) * (prices[member] - waiting[member])
    ]
    return (first, *beside)
