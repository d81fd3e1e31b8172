"""Cascade routing (Dekoninck et al., arXiv 2410.10347): before every call choose the supermodel of greatest value.

A supermodel is a set of experts that contains those already asked. Its quality is the expected maximum of its experts'
qualities, each estimated before its call from the prompt (normal around the prediction) and after it from the
answers; its cost is that of the calls not yet made. The set of greatest q̂ - λ ĉ says what comes next: nothing more,
when it is the set already asked, and the expert with the best estimate so far answers; else the cheapest of its experts
not yet asked. Written from the paper's description; the estimates after a call are the posterior of the same vote our
policy uses, so that the comparison is between two ways to decide, not between two sources of evidence.
"""

from __future__ import annotations

import numpy as np

from pointsman.evals.evidence import EvidenceTable, Floats, Ints, PolicyReturns
from pointsman.routers.evidence.policy import set_members
from pointsman.routers.evidence.vote import VoteModel, group_answers

#: Points at which the expected maximum is integrated: quantiles of independent normals from a fixed seed.
_DRAWS = 64


def cascade_routing(board: EvidenceTable, vote: VoteModel, members: Ints, sigma: Floats, rate: float) -> PolicyReturns:
    """Follow cascade routing.

    Args:
        board: The prompts.
        vote: Over the members, for the estimates after a call.
        members: Columns of the board, k of them.
        sigma: Standard deviation of an expert's later estimate around its earlier one, shape (k,).
        rate: λ: what a unit of cost is worth in quality.
    """
    n, k = len(board.quality), len(members)
    quality, expected = board.quality[:, members], board.expected_cost[:, members]
    noise = np.random.default_rng(0).standard_normal((_DRAWS, k)) * sigma
    now, open_ = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_)
    accepted = np.full(n, -1)
    while open_.any():
        for index in np.unique(now[open_]):
            rows = np.flatnonzero(open_ & (now == index))
            asked = list(set_members(int(index)))
            known = estimates_after(board, vote, members, rows, asked)
            value, following = _supermodels(known, asked, quality[rows], expected[rows], noise, rate)
            best = following[value.argmax(axis=1)]
            stop = best == index
            if asked:
                accepted[rows[stop]] = np.array(asked)[known[stop].argmax(axis=1)]
            open_[rows[stop]] = False
            for row, target in zip(rows[~stop], best[~stop], strict=True):
                missing = [member for member in set_members(int(target)) if member not in asked]
                now[row] |= 1 << missing[int(expected[row, missing].argmin())]
    calls = (now[:, None] >> np.arange(k) & 1).astype(np.bool_)
    every = np.arange(n)
    score = board.scores[every, members[np.maximum(accepted, 0)]]
    count = calls.sum(axis=1).astype(np.float64)
    return PolicyReturns(score, (board.cost[:, members] * calls).sum(axis=1), count, count)


def estimates_after(board: EvidenceTable, vote: VoteModel, members: Ints, rows: Ints, asked: list[int]) -> Floats:
    """Quality of those asked, given all their answers: the posterior of each one's answer, shape (rows, asked)."""
    if not asked:
        return np.zeros((len(rows), 0))
    columns = members[asked]
    groups = group_answers(board.codes[np.ix_(rows, columns)])
    posterior = vote.posterior(
        np.array(asked),
        groups,
        board.quality[np.ix_(rows, columns)],
        vote.surprise(np.array(asked), board.completion_tokens[np.ix_(rows, columns)]),
    )
    own = np.take_along_axis(posterior, np.maximum(groups, 0), axis=1)
    return np.asarray(np.where(groups >= 0, own, 0.0))


def _supermodels(
    known: Floats, asked: list[int], quality: Floats, expected: Floats, noise: Floats, rate: float
) -> tuple[Floats, Ints]:
    """Value of every set that contains those asked, shape (rows, sets), and the sets' numbers."""
    k = quality.shape[1]
    left = [member for member in range(k) if member not in asked]
    base = sum(1 << member for member in asked)
    floor = known.max(axis=1, initial=0.0)
    values, numbers = [], []
    for chosen in range(2 ** len(left)):
        more = [left[place] for place in set_members(chosen)]
        if not more and not asked:
            continue
        best = np.broadcast_to(floor[:, None], (len(quality), len(noise)))
        for member in more:
            best = np.maximum(best, np.clip(quality[:, member, None] + noise[None, :, member], 0.0, 1.0))
        values.append(best.mean(axis=1) - rate * expected[:, more].sum(axis=1))
        numbers.append(base | sum(1 << member for member in more))
    return np.column_stack(values), np.array(numbers)
