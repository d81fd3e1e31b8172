"""Policies that look at answers, on boards small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pointsman.evals.cascade_routing import cascade_routing, estimates_after
from pointsman.evals.evidence import EvidenceTable, agree_else_judge, by_prompt, by_vote
from pointsman.routers.evidence.vote import VoteModel

#: Three prompts, experts weak, weak too, strong; right answers are 1.
CODES = np.array([[1, 1, 2], [1, 3, 1], [-1, -1, 1]])
COST = np.array([0.1, 0.2, 1.0])


def board() -> EvidenceTable:
    scores = (CODES == 1).astype(np.float64)
    cost = np.tile(COST, (3, 1))
    quality = np.tile([0.6, 0.6, 0.8], (3, 1))
    return EvidenceTable(("weak", "weak too", "strong"), quality, cost, cost, scores, CODES, np.full((3, 3), np.nan))


def plain_vote(m: int) -> VoteModel:
    bias, length, refusal, length_mean, length_std = np.zeros((5, m))
    return VoteModel(bias, np.ones(m), length, refusal, np.zeros((m, m)), np.zeros(2), length_mean, length_std)


def test_agreement_is_accepted_and_two_silences_are_none() -> None:
    played = agree_else_judge(board(), 0, 1, 2)
    assert played.score.tolist() == [1.0, 1.0, 1.0]
    assert played.cost == pytest.approx([0.3, 1.3, 1.3])
    assert played.calls.tolist() == [2.0, 3.0, 3.0]
    assert played.rounds.tolist() == [1.0, 2.0, 2.0]


def test_a_vote_pays_for_everybody_and_accepts_the_heavier_side() -> None:
    played = by_vote(board(), plain_vote(3), np.arange(3))
    # 1.5 * 1.5 against 4; 1.5 * 4 against 1.5; 4 alone.
    assert played.score.tolist() == [0.0, 1.0, 1.0]
    assert played.cost == pytest.approx([1.3] * 3)


def test_the_prompt_alone_trades_predicted_quality_for_expected_cost() -> None:
    assert by_prompt(board(), 0.1).cost == pytest.approx([1.0] * 3)
    assert by_prompt(board(), 0.5).cost == pytest.approx([0.1] * 3)


def test_cascade_routing_estimates_an_answer_by_who_shares_it() -> None:
    after = estimates_after(board(), plain_vote(3), np.arange(3), np.arange(3), [0, 1])
    agreeing = 1.5 * 1.5 / (1.5 * 1.5 + 1)
    assert after[0] == pytest.approx([agreeing, agreeing])
    assert after[1] == pytest.approx([1.5 / 4.0, 1.5 / 4.0])
    assert after[2].tolist() == [0.0, 0.0]


def test_cascade_routing_stops_where_the_next_call_is_dearer_than_what_it_may_add() -> None:
    sigma = np.full(3, 0.3)
    miser = cascade_routing(board(), plain_vote(3), np.arange(3), sigma, rate=6.0)
    assert miser.calls.tolist() == [1.0, 1.0, 1.0]
    assert miser.cost == pytest.approx([0.1] * 3)
    spendthrift = cascade_routing(board(), plain_vote(3), np.arange(3), sigma, rate=0.0)
    assert spendthrift.calls.tolist() == [3.0, 3.0, 3.0]
    between = cascade_routing(board(), plain_vote(3), np.arange(3), sigma, rate=0.3)
    assert between.cost[0] < between.cost[2], "silence is a reason to ask on, agreement one to stop"


def test_without_doubt_about_qualities_a_cascade_asks_the_best_alone() -> None:
    sure = cascade_routing(board(), plain_vote(3), np.arange(3), np.zeros(3), rate=0.01)
    assert sure.calls[2] == 1.0
    assert sure.cost[2] == pytest.approx(1.0)
