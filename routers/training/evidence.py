"""Answers as evidence: choose the experts that a sequential policy may ask, and fit it.

Few members are better than many: every one more doubles the states that have to be learned from the same outcomes. They
are chosen by what the policy is worth on prompts it was not fitted on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Floats
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.evidence.replay import ask
from pointsman.routers.evidence.vote import VoteModel
from pointsman.routers.training.evidence_policy import EvidenceTrainingData, fit_policy
from pointsman.routers.training.evidence_vote import fit_vote

MAX_MEMBERS = 4

#: Fewer prompts with every answer teach nothing that holds.
LEAST_PROMPTS = 300

#: Prompts on which members are chosen: half to fit, half to judge.
CHOOSING_PROMPTS = 3000

CHOOSING_RATES = (0.02, 0.06, 0.2)

#: What a further member must add to the mean utility to be worth its states.
LEAST_GAIN = 5e-4


def fit_evidence(
    experts: tuple[str, ...],
    quality: npt.NDArray[np.floating],
    scores: Floats,
    answers: npt.NDArray[np.integer],
    completion_tokens: Floats | None,
    cost: Floats | None,
    seed: int,
) -> SequentialPolicy | None:
    """Fit on outcomes of m experts on n prompts.

    Args:
        experts: Names, m of them.
        quality: Out-of-fold predictions, shape (n, m).
        scores: Shape (n, m), NaN where unscored.
        answers: Codes of the answers, negative where an expert gave none, shape (n, m).
        completion_tokens: Shape (n, m), NaN where unknown; None when wholly unknown.
        cost: Of each call in any one unit, shape (n, m), NaN where unknown; None counts calls, and so does
            a best expert that costs nothing.
        seed: Of what is random.

    Returns:
        The policy; None where the outcomes are too few to learn one, or asking a second expert never paid.
    """
    pool = np.flatnonzero(_usable(scores, answers, cost))
    if len(pool) < 2:
        return None
    rows = np.flatnonzero(np.isfinite(scores[:, pool]).all(axis=1))
    if len(rows) < LEAST_PROMPTS:
        return None
    here = np.ix_(rows, pool)
    tokens = np.full((len(rows), len(pool)), np.nan) if completion_tokens is None else completion_tokens[here]
    best = int(scores[here].mean(axis=0).argmax())
    spent = np.ones(len(pool)) if cost is None else np.nanmean(cost[here], axis=0)
    if not spent[best]:
        spent = np.ones(len(pool))
    whole = EvidenceTrainingData(
        np.asarray(quality[here], dtype=np.float64),
        answers[here].astype(np.int64),
        scores[here],
        tokens,
        spent / spent[best],
    )
    rng = np.random.default_rng(seed)
    members = _choose(whole, best, rng.permutation(len(rows))[:CHOOSING_PROMPTS], seed)
    if len(members) < 2:
        return None
    chosen = whole.of(members)
    vote = fit_vote(chosen.quality, chosen.codes, chosen.scores, chosen.completion_tokens, seed)
    names = tuple(str(experts[pool[member]]) for member in members)
    return fit_policy(chosen, names, vote)


def _usable(scores: Floats, answers: npt.NDArray[np.integer], cost: Floats | None) -> npt.NDArray[np.bool_]:
    """Experts with known costs and most answers known."""
    seen = np.isfinite(scores)
    told = (seen & (answers >= 0)).sum(axis=0) > 0.5 * np.maximum(seen.sum(axis=0), 1)
    if cost is None:
        return np.asarray(told & seen.any(axis=0))
    return np.asarray(told & seen.any(axis=0) & (np.isfinite(cost) | ~seen).all(axis=0))


def _choose(whole: EvidenceTrainingData, best: int, rows: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.int64]:
    """Forward from the best single expert, then backward.

    Forward to the full number, though a member may seem to add nothing: two cheap experts are evidence together, one
    of them alone is not. Backward drops each expert that adds nothing.
    """
    sample = whole.rows(rows)
    half = len(rows) // 2
    fit, judge = np.arange(half), np.arange(half, len(rows))
    vote = fit_vote(sample.quality[fit], sample.codes[fit], sample.scores[fit], sample.completion_tokens[fit], seed)

    def worth(members: list[int]) -> float:
        return _worth(sample, members, vote, fit, judge)

    members = [best]
    others = [expert for expert in range(sample.scores.shape[1]) if expert != best]
    while others and len(members) < MAX_MEMBERS:
        found = [worth([*members, expert]) for expert in others]
        members.append(others.pop(int(np.argmax(found))))
    most = worth(members)
    while len(members) > 1:
        without = [[*members[:at], *members[at + 1 :]] for at in range(len(members))]
        found = [worth(left) for left in without]
        if max(found) < most - LEAST_GAIN:
            break
        most = max(most, *found)
        members = without[int(np.argmax(found))]
    return np.array(sorted(members))


def _worth(
    sample: EvidenceTrainingData,
    members: list[int],
    vote: VoteModel,
    fit: npt.NDArray[np.integer],
    judge: npt.NDArray[np.integer],
) -> float:
    """Mean utility over the rates on prompts that the policy was not fitted on, fitted and judged both ways."""
    columns = np.array(sorted(members))
    own = sample.of(columns)
    part = vote.of(columns)
    worth = 0.0
    for learn, hold in ((fit, judge), (judge, fit)):
        policy = fit_policy(own.rows(learn), tuple(str(column) for column in columns), part, rates=CHOOSING_RATES)
        seen = own.rows(hold)
        for rate in CHOOSING_RATES:
            prices = np.broadcast_to(rate * own.spending, seen.scores.shape)
            done = ask(policy, seen.quality, seen.codes, seen.completion_tokens, prices)
            won = np.where(done.accepted >= 0, seen.scores[np.arange(len(hold)), np.maximum(done.accepted, 0)], 0.0)
            worth += float((won - (done.calls * prices).sum(axis=1)).mean()) / (2 * len(CHOOSING_RATES))
    return worth
