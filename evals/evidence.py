"""Policies that look at answers, on a table that holds the answer of every expert; with the anchors they must beat.

Every policy here is charged for all calls it makes. What it may know before a call is the prompt, the router's
predicted quality and answer length, and the answers so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.evals.prices import fitted_prices
from pointsman.evals.replay import requests
from pointsman.evals.tables import OutcomeTable
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.evidence.replay import ask
from pointsman.routers.evidence.vote import VoteModel, group_answers
from pointsman.routers.protocols import RouterProtocol

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceTable:
    """n prompts with the answers of m experts, and what a router predicts of them.

    Attributes:
        experts: Names, m of them.
        quality: Predicted, shape (n, m).
        expected_cost: Predicted before the call, in units of the best single expert's mean cost, shape (n, m).
        cost: What the call did cost, in the same unit, shape (n, m); 1 per call where the table has no costs.
        scores: Shape (n, m).
        codes: Answers, negative for none, shape (n, m).
        completion_tokens: Shape (n, m).
    """

    experts: tuple[str, ...]
    quality: Floats
    expected_cost: Floats
    cost: Floats
    scores: Floats
    codes: Ints
    completion_tokens: Floats

    def rows(self, rows: npt.NDArray[np.integer]) -> EvidenceTable:
        """The same for some of the prompts."""
        cells = (self.quality, self.expected_cost, self.cost, self.scores, self.codes, self.completion_tokens)
        return EvidenceTable(self.experts, *(cell[rows] for cell in cells))

    def columns(self, names: tuple[str, ...]) -> Ints:
        """Positions of experts.

        Raises:
            ValueError: One is not here.
        """
        return np.array([self.experts.index(name) for name in names])


@dataclass(frozen=True, slots=True, eq=False)
class PolicyReturns:
    """What a policy won and spent, per prompt, shape (n,) each.

    Attributes:
        score: Of the accepted answer.
        cost: Of all calls, in units of the best single expert's.
        calls: How many.
        rounds: Calls one after the other; fewer than calls where some were made at once.
    """

    score: Floats
    cost: Floats
    calls: Floats
    rounds: Floats


def make_board(
    router: RouterProtocol, train: OutcomeTable, table: OutcomeTable, unit_usd: float | None
) -> EvidenceTable:
    """Assess every prompt of a table.

    Args:
        router: Fitted on `train`.
        train: Prices are fitted to its costs.
        table: With answers.
        unit_usd: What counts as cost 1; None where the table has no costs: every call costs 1.
    """
    if table.answers is None:
        raise ValueError(f"{table.name} holds no answers")
    asked = requests(table)
    assessed = [router.assess(request) for request in asked]
    quality = np.array([[one.quality[name].mean for name in table.experts] for one in assessed])
    expected, cost = np.ones(table.scores.shape), np.ones(table.scores.shape)
    if unit_usd is not None:
        prices = fitted_prices(train)
        cost = table.cost_usd / unit_usd
        for j, name in enumerate(table.experts):
            expected[:, j] = [
                prices[name].cost_usd(request.prompt_tokens, one.completion_tokens[name][0]) / unit_usd
                for request, one in zip(asked, assessed, strict=True)
            ]
    codes = table.answers.astype(np.int64)
    return EvidenceTable(table.experts, quality, expected, cost, table.scores, codes, table.completion_tokens)


def one_expert(board: EvidenceTable, choice: Ints) -> PolicyReturns:
    """Ask one expert per prompt, shape (n,): routing that sees the prompt alone."""
    every, one = np.arange(len(choice)), np.ones(len(choice))
    return PolicyReturns(board.scores[every, choice], board.cost[every, choice], one, one)


def by_prompt(board: EvidenceTable, rate: float) -> PolicyReturns:
    """The router without answers: argmax of predicted quality less priced cost."""
    return one_expert(board, (board.quality - rate * board.expected_cost).argmax(axis=1))


def by_policy(board: EvidenceTable, policy: SequentialPolicy, rate: float) -> PolicyReturns:
    """The sequential policy; `rate` is what a unit of cost is worth in quality."""
    members = board.columns(policy.members)
    done = ask(
        policy,
        board.quality[:, members],
        board.codes[:, members],
        board.completion_tokens[:, members],
        rate * board.expected_cost[:, members],
    )
    return _played(board, members, done.calls, done.accepted)


def agree_else_judge(board: EvidenceTable, first: int, second: int, judge: int) -> PolicyReturns:
    """A fixed rule: ask two experts at once; where they agree accept, else ask and accept a third."""
    codes = board.codes
    agree = (codes[:, first] == codes[:, second]) & (codes[:, first] >= 0)
    members = np.array([first, second, judge])
    calls = np.column_stack([np.ones((len(agree), 2), dtype=np.bool_), ~agree])
    played = _played(board, members, calls, np.where(agree, 0, 2))
    return PolicyReturns(played.score, played.cost, played.calls, np.where(agree, 1.0, 2.0))


def by_vote(board: EvidenceTable, vote: VoteModel, members: Ints, asked: Bools | None = None) -> PolicyReturns:
    """Ask members at once and accept the answer the weighted vote finds most probable.

    Args:
        board: The prompts.
        vote: Over the members.
        members: Columns of the board, k of them.
        asked: The members to ask for each prompt, shape (n, k); None for all.
    """
    n, k = len(board.quality), len(members)
    asked = np.ones((n, k), dtype=np.bool_) if asked is None else asked
    accepted = np.full(n, -1)
    for some in np.unique(asked, axis=0):
        rows, places = np.flatnonzero((asked == some).all(axis=1)), np.flatnonzero(some)
        cells = np.ix_(rows, members[places])
        groups = group_answers(board.codes[cells])
        surprise = vote.surprise(places, board.completion_tokens[cells])
        posterior = vote.posterior(places, groups, board.quality[cells], surprise)
        accepted[rows] = np.where((groups >= 0).any(axis=1), places[posterior[:, :-1].argmax(axis=1)], -1)
    played = _played(board, members, asked, accepted)
    return PolicyReturns(played.score, played.cost, played.calls, np.ones(n))


def _played(board: EvidenceTable, members: Ints, calls: Bools, accepted: Ints) -> PolicyReturns:
    every = np.arange(len(accepted))
    score = np.where(accepted >= 0, board.scores[every, members[np.maximum(accepted, 0)]], 0.0)
    count = calls.sum(axis=1).astype(np.float64)
    return PolicyReturns(score, (board.cost[:, members] * calls).sum(axis=1), count, count)
