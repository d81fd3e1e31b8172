"""Answers as evidence: the vote by hand, its gradient, the policy where the best rule is known, serving as replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointsman.routers.artifacts import load_artifact, save_router
from pointsman.routers.errors import TrainingError
from pointsman.routers.evidence.keys import answer_key
from pointsman.routers.evidence.policy import SequentialPolicy
from pointsman.routers.evidence.replay import EvidencePolicyTrace, ask
from pointsman.routers.evidence.step import AcceptStep, AskStep, MemberAnswer, next_step
from pointsman.routers.evidence.vote import VoteModel, group_answers
from pointsman.routers.training.evidence import fit_evidence
from pointsman.routers.training.evidence_policy import EvidenceTrainingData, fit_policy
from pointsman.routers.training.evidence_vote import _Problem, fit_vote
from pointsman.routers.training.fit import fit_router
from tests.unit.routers.tiny import tiny_data, tiny_embedder

CHEAP, TWIN, JUDGE = 0, 1, 2
EXPERTS = ("cheap", "twin", "judge")
COST = np.array([0.1, 0.1, 1.0])


def independent_vote(m: int) -> VoteModel:
    """The textbook's weighted vote: log-odds, no correlation, nobody right at even odds."""
    bias, length, refusal, length_mean, length_std = np.zeros((5, m))
    return VoteModel(bias, np.ones(m), length, refusal, np.zeros((m, m)), np.zeros(2), length_mean, length_std)


def world(
    n: int, seed: int, accuracy: tuple[float, float, float] = (0.7, 0.7, 0.92), options: int = 8
) -> EvidenceTrainingData:
    """Independent experts who err to one of many wrong options: two that agree are nearly always right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, options, (n, 1))
    right = rng.random((n, 3)) < np.array(accuracy)
    wrong = (truth + rng.integers(1, options, (n, 3))) % options
    codes = np.where(right, truth, wrong)
    quality = np.tile(accuracy, (n, 1))
    return EvidenceTrainingData(quality, codes, right.astype(np.float64), np.full((n, 3), np.nan), COST)


@pytest.fixture(scope="module")
def policy() -> SequentialPolicy:
    seen = world(4000, 0)
    vote = fit_vote(seen.quality, seen.codes, seen.scores, seen.completion_tokens, 0)
    return fit_policy(seen, EXPERTS, vote)


def utility(done: EvidencePolicyTrace, seen: EvidenceTrainingData, rate: float) -> float:
    won = np.where(done.accepted >= 0, seen.scores[np.arange(len(seen.scores)), np.maximum(done.accepted, 0)], 0.0)
    return float((won - rate * (done.calls * COST).sum(axis=1)).mean())


def test_equal_answers_are_one_group_named_by_its_first_giver() -> None:
    codes = np.array([[7, 3, 7, -1], [-1, -1, 2, 2]])
    assert group_answers(codes).tolist() == [[0, 1, 0, -1], [-1, -1, 2, 2]]


def test_the_vote_adds_log_odds_of_those_who_agree() -> None:
    quality = np.array([[0.8, 0.6, 0.7]])
    groups = group_answers(np.array([[5, 9, 9]]))
    found = independent_vote(3).posterior(np.arange(3), groups, quality, np.zeros((1, 3)))[0]
    odds = [0.8 / 0.2, (0.6 / 0.4) * (0.7 / 0.3), 1.0]
    assert found == pytest.approx([odds[0] / sum(odds), odds[1] / sum(odds), 0.0, odds[2] / sum(odds)])


def test_a_negative_pair_term_takes_an_agreement_back() -> None:
    vote = independent_vote(2)
    vote.pair[:] = [[0.0, -2.0], [-2.0, 0.0]]
    quality = np.array([[0.7, 0.7]])
    agreeing = vote.posterior(np.arange(2), np.array([[0, 0]]), quality, np.zeros((1, 2)))[0, 0]
    assert agreeing == pytest.approx(1 / (1 + np.exp(-(2 * np.log(7 / 3) - 2.0))))


def test_an_answer_out_of_character_is_surprising_and_an_unknown_length_is_not() -> None:
    vote = independent_vote(2)
    vote.length_mean[:], vote.length_std[:] = np.log1p(100), 0.5
    z = vote.surprise(np.arange(2), np.array([[100 * np.e**1.0, np.nan], [1e9, 100.0]]))
    assert z[0] == pytest.approx([2.0, 0.0], abs=0.02)
    assert z[1] == pytest.approx([3.0, 0.0], abs=1e-9)


def test_the_gradient_of_the_vote_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(1)
    n, m = 40, 4
    codes, scores = rng.integers(-1, 3, (n, m)), (rng.random((n, m)) < 0.5).astype(np.float64)
    asked = np.where(rng.random((n, m)) < 0.7, np.arange(m), -1)
    problem = _Problem(np.arange(n), asked, rng.uniform(0.2, 0.9, (n, m)), codes, scores, rng.normal(size=(n, m)))
    theta, start = rng.normal(scale=0.3, size=4 * m + 2 + m * m), np.zeros(4 * m + 2 + m * m)
    gradient = problem.loss(theta, start)[1]
    step = 1e-6
    for i in range(theta.size):
        apart = np.eye(theta.size)[i] * step
        numeric = (problem.loss(theta + apart, start)[0] - problem.loss(theta - apart, start)[0]) / (2 * step)
        assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=1e-4), i


def test_the_fitted_vote_is_calibrated_and_sees_a_copycat() -> None:
    seen = world(6000, 2)
    # The twin now repeats the cheap one: their agreement says nothing.
    copied = EvidenceTrainingData(
        seen.quality, seen.codes[:, [0, 0, 2]], seen.scores[:, [0, 0, 2]], seen.completion_tokens, seen.spending
    )
    for evidence, pair in ((seen, 0.97), (copied, 0.70)):
        vote = fit_vote(evidence.quality, evidence.codes, evidence.scores, evidence.completion_tokens, 0)
        agree = evidence.codes[:, CHEAP] == evidence.codes[:, TWIN]
        groups = group_answers(evidence.codes[agree][:, :2])
        belief = vote.posterior(np.arange(2), groups, evidence.quality[agree][:, :2], np.zeros((agree.sum(), 2)))[:, 0]
        assert belief.mean() == pytest.approx(pair, abs=0.04)


def test_the_policy_finds_the_rule_that_is_best_in_its_world(policy: SequentialPolicy) -> None:
    """Ask the two cheap ones, the judge only when they differ: it beats every single expert and every fixed set."""
    seen, rate = world(4000, 3), 0.2
    done = ask(policy, seen.quality, seen.codes, seen.completion_tokens, np.tile(rate * COST, (4000, 1)))
    agree = seen.codes[:, CHEAP] == seen.codes[:, TWIN]
    assert done.calls[:, [CHEAP, TWIN]].all()
    assert (done.calls[:, JUDGE] == ~agree).mean() > 0.99
    rule = np.where(agree, seen.scores[:, CHEAP], seen.scores[:, JUDGE]).mean()
    rule -= rate * float((0.2 + 1.0 * ~agree).mean())
    assert utility(done, seen, rate) >= rule - 0.005
    assert utility(done, seen, rate) > max((seen.scores - rate * COST).mean(axis=0)) + 0.05
    assert np.nanmean(done.belief) == pytest.approx(seen.scores[np.arange(4000), done.accepted].mean(), abs=0.02), (
        "what it believes is what it wins"
    )


def test_dearer_calls_are_made_less_often(policy: SequentialPolicy) -> None:
    seen = world(2000, 4)
    spent, won = [], []
    for rate in (0.005, 0.05, 0.2, 0.5, 2.0):
        done = ask(policy, seen.quality, seen.codes, seen.completion_tokens, np.tile(rate * COST, (2000, 1)))
        spent.append(float((done.calls * COST).sum(axis=1).mean()))
        won.append(float(seen.scores[np.arange(2000), done.accepted].mean()))
    assert spent == sorted(spent, reverse=True)
    assert won[0] > 0.9
    assert spent[-1] == pytest.approx(0.1), "the miser asks one cheap expert"


def test_a_member_at_infinite_price_is_not_asked(policy: SequentialPolicy) -> None:
    seen = world(1000, 5)
    prices = np.tile(0.01 * COST, (1000, 1))
    prices[:, JUDGE] = np.inf
    prices[:500, TWIN] = np.inf
    done = ask(policy, seen.quality, seen.codes, seen.completion_tokens, prices)
    assert not done.calls[:, JUDGE].any()
    assert not done.calls[:500, TWIN].any()
    assert (done.accepted >= 0).all()
    nobody = ask(policy, seen.quality, seen.codes, seen.completion_tokens, np.full((1000, 3), np.inf))
    assert (nobody.accepted == -1).all()
    assert not nobody.calls.any()


def test_serving_step_by_step_is_the_replay(policy: SequentialPolicy) -> None:
    seen = world(200, 6)
    codes = np.where(np.random.default_rng(0).random(seen.codes.shape) < 0.1, -1, seen.codes)
    prices = np.tile(0.1 * COST, (200, 1))
    done = ask(policy, seen.quality, codes, seen.completion_tokens, prices)
    for row in range(200):
        given: dict[int, MemberAnswer] = {}
        step = next_step(policy, seen.quality[row], given, prices[row], np.zeros(3))
        while isinstance(step, AskStep):
            assert len(step.members) == 1, "waiting costs nothing, so that nobody is asked early"
            given[step.members[0]] = MemberAnswer(int(codes[row, step.members[0]]), float("nan"))
            step = next_step(policy, seen.quality[row], given, prices[row], np.zeros(3))
        assert sorted(given) == np.flatnonzero(done.calls[row]).tolist()
        if step is None:
            assert done.accepted[row] == -1
        else:
            assert codes[row, step.member] == codes[row, done.accepted[row]]
            assert step.belief == pytest.approx(done.belief[row])


def test_probable_calls_are_made_in_parallel_where_waiting_has_a_price(policy: SequentialPolicy) -> None:
    quality, cost = np.array([0.7, 0.7, 0.92]), 0.05 * COST
    patient = next_step(policy, quality, {}, cost, np.zeros(3))
    waiting = np.full(3, 0.1)
    hurried = next_step(policy, quality, {}, cost + waiting, waiting)
    assert isinstance(patient, AskStep)
    assert isinstance(hurried, AskStep)
    assert len(patient.members) == 1
    assert set(hurried.members) >= {CHEAP, TWIN} or hurried.members == (JUDGE,)


def test_no_answer_and_no_member_left_is_no_step(policy: SequentialPolicy) -> None:
    silent = {member: MemberAnswer(-1, float("nan")) for member in range(3)}
    assert next_step(policy, np.array([0.7, 0.7, 0.92]), silent, COST, np.zeros(3)) is None
    spoken = {**silent, JUDGE: MemberAnswer(4, 20.0)}
    step = next_step(policy, np.array([0.7, 0.7, 0.92]), spoken, COST, np.zeros(3))
    assert isinstance(step, AcceptStep)
    assert (step.member, step.supporters) == (JUDGE, (JUDGE,))


def test_a_policy_is_the_same_after_storing(policy: SequentialPolicy) -> None:
    again = SequentialPolicy.from_parts(policy.spec(), policy.tensors())
    seen = world(500, 7)
    prices = np.tile(0.1 * COST, (500, 1))
    one, two = (ask(p, seen.quality, seen.codes, seen.completion_tokens, prices) for p in (policy, again))
    assert (one.calls == two.calls).all()
    assert (one.accepted == two.accepted).all()
    spec = {**policy.spec(), "members": ["cheap", "twin"]}
    with pytest.raises(ValueError, match="another size"):
        SequentialPolicy.from_parts(spec, policy.tensors())


def test_members_are_chosen_for_what_they_add() -> None:
    """A copy of the judge and a fool add nothing; the cheap pair does."""
    seen = world(3000, 8)
    rng = np.random.default_rng(0)
    fool = rng.integers(100, 200, (3000, 1))
    scores = np.column_stack([seen.scores, seen.scores[:, JUDGE], np.zeros(3000)])
    answers = np.column_stack([seen.codes, seen.codes[:, JUDGE], fool])
    quality = np.tile([0.7, 0.7, 0.92, 0.92, 0.02], (3000, 1))
    cost = np.tile([0.1, 0.1, 1.0, 1.5, 0.1], (3000, 1))
    names = (*EXPERTS, "copy", "fool")
    found = fit_evidence(names, quality, scores, answers, None, cost, 0)
    assert found is not None
    assert set(found.members) == set(EXPERTS) or set(found.members) == {"cheap", "twin", "copy"}


def test_too_little_to_learn_from_is_no_policy() -> None:
    seen = world(100, 9)
    assert fit_evidence(EXPERTS, seen.quality, seen.scores, seen.codes, None, None, 0) is None
    silent = np.full((3000, 3), -1)
    many = world(3000, 9)
    assert fit_evidence(EXPERTS, many.quality, many.scores, silent, None, None, 0) is None


def test_a_router_learns_from_answers_where_it_is_given_any(tmp_path: Path) -> None:
    data = tiny_data(900)
    rng = np.random.default_rng(0)
    right = rng.random(data.scores.shape) < np.clip(data.scores + 0.05, 0, 0.95)
    truth = rng.integers(0, 6, (900, 1))
    answers = np.where(right, truth, (truth + rng.integers(1, 6, right.shape)) % 6)
    data = replace(data, scores=right.astype(np.float64), answers=answers)
    parts = fit_router(data, embedder=tiny_embedder(), max_iter=20)
    assert parts.evidence is not None
    assert set(parts.evidence.members) <= set(data.experts)
    save_router(tmp_path, parts)
    loaded = load_artifact(tmp_path)
    assert loaded.evidence is not None
    assert loaded.evidence.members == parts.evidence.members
    assert loaded.manifest["evidence"]["members"] == list(parts.evidence.members)

    without = fit_router(replace(data, answers=None), embedder=tiny_embedder(), max_iter=20)
    assert without.evidence is None
    save_router(tmp_path, without)
    assert load_artifact(tmp_path).evidence is None
    with pytest.raises(TrainingError, match="answers have shape"):
        fit_router(replace(data, answers=answers[:, :2]), embedder=tiny_embedder())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Let us see. The answer is (C).", "c"),
        ("So (C)", "c"),
        ("**C**", "c"),
        ("C) 12 metres", "c"),
        ("Answer: B. Mitochondria", "b"),
        (r"therefore \boxed{1,234.0}", "1234"),
        ("The answer is 3.14. Because", "3.14"),
        ("steps\n#### 42", "42"),
        ("42%", "42"),
        ("The capital?\nParis.", "paris"),
        (r"The final answer is $\frac{1}{2}$.", r"\frac{1}{2}"),
        ("A long explanation that goes on and on and states nothing short at all", None),
        ("", None),
    ],
)
def test_an_answer_comes_down_to_what_it_states(text: str, key: str | None) -> None:
    assert answer_key(text) == key
