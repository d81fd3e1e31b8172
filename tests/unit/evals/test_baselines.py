"""Baselines on tables small enough to check by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointsman.evals.baselines import baselines, by_category, oracle, prompt_length, random_matched
from pointsman.evals.errors import EvalError
from pointsman.evals.evaluate import evaluate, expert_rows
from pointsman.evals.policies import Policy, make_trial
from pointsman.evals.report import RouterRow
from pointsman.evals.router_result import cost_range
from pointsman.evals.tables import OutcomeTable, load_table

Writer = Callable[..., Path]
NAN = float("nan")
# Columns: cheap, dear. Rows: two train prompts per category, then one test prompt per category and one of a new one.
SCORES = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 0], [0, 1], [0, 1]], dtype=float)
COSTS = np.array([[1, 4], [1, 4], [1, 4], [1, 4], [1, 4], [1, 4], [2, 5]], dtype=float) / 1000
PROMPTS = {
    "prompt_id": [f"p{i}" for i in range(7)],
    "prompt": ["aa bb", "cc dd", "ee ff gg hh ii jj", "kk ll mm nn oo pp", "qq rr", "ss tt uu vv ww xx", "yy zz"],
    "category": ["easy", "easy", "hard", "hard", "easy", "hard", "new"],
    "split": ["train"] * 4 + ["test"] * 3,
    "prompt_tokens_cl100k": [2, 2, 6, 6, 2, 6, 2],
}


@pytest.fixture
def tiny(write_table: Writer, rows_of: Callable[..., Any]) -> OutcomeTable:
    return load_table(write_table(PROMPTS, rows_of(SCORES, ["cheap", "dear"], cost_usd=COSTS), "tiny"))


def _rows(table: OutcomeTable, resamples: int = 0) -> dict[str, RouterRow]:
    trial = make_trial(table)
    return {row.name: row for row in evaluate(trial, baselines(trial), resamples, 0).rows}


def test_every_baseline_by_hand(tiny: OutcomeTable) -> None:
    rows = _rows(tiny)
    # On train: cheap 3/4, dear 2/4. On test: cheap 1/3, dear 2/3.
    assert rows["best_single"].notes == ("always cheap",)
    assert rows["best_single"].metrics["quality"] == pytest.approx(1 / 3)
    assert rows["best_single"].metrics["gap_closed"] == 0
    assert rows["best_single"].metrics["quality_minus_best_single"] == 0
    assert rows["cheapest"].metrics["quality"] == pytest.approx(1 / 3)
    assert rows["cheapest"].metrics["cost_usd"] == pytest.approx(4 / 3 / 1000)
    assert rows["random"].metrics["quality"] == pytest.approx(1 / 2)
    assert rows["random"].metrics["cost_usd"] == pytest.approx((2.5 + 2.5 + 3.5) / 3 / 1000)
    assert rows["random"].metrics["selection_accuracy"] == pytest.approx(1 / 2)
    # easy -> cheap, hard -> dear, and the unseen category -> best single.
    assert rows["category_oracle"].choice_shares == pytest.approx({"cheap": 2 / 3, "dear": 1 / 3})
    assert rows["category_oracle"].metrics["quality"] == pytest.approx(2 / 3)
    assert rows["category_oracle"].metrics["gap_closed"] == pytest.approx(1 / 2)
    assert rows["category_oracle"].metrics["regret"] == pytest.approx(1 / 3)
    assert rows["oracle"].metrics["quality"] == 1
    assert rows["oracle"].metrics["gap_closed"] == 1
    assert rows["oracle"].metrics["cost_usd"] == pytest.approx((1 + 4 + 5) / 3 / 1000)
    assert rows["oracle"].metrics["selection_accuracy_strict"] == 1
    # The singles: (4/3, 1/3) and (13/3, 2/3), so the hull's mean height over their range is the middle.
    assert cost_range(make_trial(tiny)) == pytest.approx((4 / 3 / 1000, 13 / 3 / 1000))
    assert rows["zero_router"].metrics["aiq"] == pytest.approx(1 / 2)
    assert rows["zero_router"].metrics["quality"] == pytest.approx(2 / 3)
    # Oracle: (4/3, 1/3) to (10/3, 1), then flat to 13/3: (2 * 2/3 + 1) / 3.
    assert rows["oracle"].metrics["aiq"] == pytest.approx(7 / 9)
    assert rows["oracle"].metrics["aiq_minus_zero_router"] == pytest.approx(7 / 9 - 1 / 2)


def test_the_oracle_takes_the_cheapest_of_the_right_ones(tiny: OutcomeTable) -> None:
    trial = make_trial(replace(tiny, scores=np.ones_like(tiny.scores)))
    assert oracle(trial).mix[:, 0].tolist() == [1, 1, 1]


def test_prompt_length_learns_that_long_prompts_need_the_dear_one(
    write_table: Writer, rows_of: Callable[..., Any]
) -> None:
    # 200 train prompts of 1 to 200 words: cheap is right up to 100, dear always; then five to route.
    lengths = [*range(1, 201), 3, 60, 140, 199, 5000]
    scores = np.array([[float(words <= 100), 1.0] for words in lengths])
    prompts = {
        "prompt_id": [f"p{i}" for i in range(205)],
        "prompt": ["word " * words for words in lengths],
        "split": ["train"] * 200 + ["test"] * 5,
    }
    costs = np.tile([0.001, 0.004], (205, 1))
    trial = make_trial(load_table(write_table(prompts, rows_of(scores, ["cheap", "dear"], cost_usd=costs))))
    policy = prompt_length(trial)
    # Where both are always right the cheaper one is asked; a length never seen is like the longest seen.
    assert policy.mix.argmax(axis=1).tolist() == [0, 0, 1, 1, 1]
    assert policy.predicted is not None
    assert policy.predicted[:, 0].tolist() == [1, 1, 0, 0, 0]
    # The better expert is `dear`: the belief that it is worth asking.
    assert policy.deferral_score is not None
    assert policy.deferral_score.tolist() == [0, 0, 1, 1, 1]


def test_random_at_the_same_mix_ignores_the_prompt(tiny: OutcomeTable) -> None:
    trial = make_trial(tiny)
    policy = by_category(trial, "by label", trial.train.categories, trial.test.categories)
    matched = random_matched(trial, policy)
    assert matched.mix == pytest.approx(np.tile([2 / 3, 1 / 3], (3, 1)))


def test_without_costs_there_are_no_curves_and_no_zeros(tiny: OutcomeTable) -> None:
    rows = _rows(replace(tiny, cost_usd=np.full(tiny.scores.shape, NAN)), resamples=20)
    for row in rows.values():
        assert row.metrics["cost_usd"] is None
        assert row.metrics["aiq"] is None
        assert row.intervals.get("aiq") is None
        assert row.curve == ()
    assert rows["cheapest"].metrics["quality"] is None
    assert rows["cheapest"].metrics["gap_closed"] is None
    assert rows["zero_router"].metrics["quality"] is None
    assert rows["oracle"].metrics["quality"] == 1


def test_an_unpriced_expert_stays_off_the_curves(write_table: Writer, rows_of: Callable[..., Any]) -> None:
    scores = np.column_stack([SCORES, np.ones(7)])
    costs = np.column_stack([COSTS, np.full(7, NAN)])
    table = load_table(write_table(PROMPTS, rows_of(scores, ["cheap", "dear", "unpriced"], cost_usd=costs), "mixed"))
    trial = make_trial(table)
    rows = {row.name: row for row in evaluate(trial, baselines(trial), 20, 0).rows}
    assert rows["best_single"].notes == ("always unpriced",)
    assert rows["best_single"].metrics["quality"] == 1
    assert rows["best_single"].metrics["cost_usd"] is None
    assert rows["best_single"].metrics["aiq"] is None
    assert rows["cheapest"].notes == ("always cheap",)
    assert rows["zero_router"].metrics["aiq"] == pytest.approx(1 / 2)
    assert rows["oracle"].metrics["aiq"] == pytest.approx(7 / 9)


def test_no_train_split_leaves_what_needs_it_undefined(tiny: OutcomeTable) -> None:
    rows = _rows(tiny.split("test"), resamples=20)
    for name in ("best_single", "category_oracle", "prompt_length"):
        assert rows[name].metrics["quality"] is None
        assert "undefined" in rows[name].notes[0]
    assert rows["oracle"].metrics["quality"] == 1
    assert rows["oracle"].metrics["gap_closed"] is None
    assert rows["random"].metrics["quality"] == pytest.approx(1 / 2)


def test_sparse_tables_are_evaluated_where_the_pick_is_scored(write_table: Writer, rows_of: Callable[..., Any]) -> None:
    scores = SCORES.copy()
    scores[4, 0] = NAN  # cheap, right on this one before
    scores[5, :] = NAN  # nobody
    table = load_table(write_table(PROMPTS, rows_of(scores, ["cheap", "dear"]), "sparse"))
    dense = make_trial(table)
    assert dense.test.prompt_ids == ("p6",)
    trial = make_trial(table, sparse=True)
    assert trial.test.prompt_ids == ("p4", "p6")
    rows = {row.name: row for row in evaluate(trial, baselines(trial), 20, 0).rows}
    assert rows["best_single"].metrics["coverage"] == 0.5
    assert rows["best_single"].metrics["quality"] == 0
    assert rows["oracle"].metrics["coverage"] == 1
    assert rows["oracle"].metrics["quality"] == pytest.approx(1 / 2)
    # The difference is paired: on p6 alone, where both are scored.
    assert rows["oracle"].metrics["quality_minus_best_single"] == 1
    assert {row.name: row.coverage for row in expert_rows(trial)} == {"cheap": 0.5, "dear": 1.0}


def test_a_split_without_prompts_is_refused(tiny: OutcomeTable) -> None:
    with pytest.raises(EvalError, match="no prompt in split 'dev'; it has test, train"):
        make_trial(tiny, split="dev")


def test_no_common_prompt_is_refused(write_table: Writer, rows_of: Callable[..., Any]) -> None:
    scores = np.where(np.arange(7)[:, None] % 2 == np.arange(2), SCORES, NAN)
    table = load_table(write_table(PROMPTS, rows_of(scores, ["a", "b"]), "apart"))
    with pytest.raises(EvalError, match="--prompts any"):
        make_trial(table)


def test_intervals_hold_the_value_and_pair_the_rows(table: OutcomeTable) -> None:
    rows = _rows(table, resamples=300)
    for row in rows.values():
        for name in ("quality", "regret", "selection_accuracy", "gap_closed", "aiq", "cost_usd"):
            value, around = row.metrics[name], row.intervals.get(name)
            if around is not None and value is not None:
                assert around[0] <= value <= around[1], (row.name, name)
    assert rows["best_single"].intervals.get("quality_minus_best_single") == (0.0, 0.0)
    # Paired: the same prompts stand on both sides, so the difference is surer than its parts.
    single, best = rows["best_single"].intervals.get("quality"), rows["category_oracle"].intervals.get("quality")
    both = rows["category_oracle"].intervals.get("quality_minus_best_single")
    assert single is not None
    assert best is not None
    assert both is not None
    assert both[1] - both[0] < np.hypot(single[1] - single[0], best[1] - best[0])


def test_same_seed_same_figures(table: OutcomeTable) -> None:
    assert _rows(table, resamples=50) == _rows(table, resamples=50)


def test_a_policy_gathers_notes(tiny: OutcomeTable) -> None:
    policy: Policy = oracle(make_trial(tiny)).noting("one").noting("two")
    assert policy.notes == ("one", "two")


def test_the_front_of_a_single_expert_by_hand(tiny: OutcomeTable) -> None:
    rows = _rows(tiny)
    # Mean costs 4/3 and 13/3 thousandths: cheap is 9/13 cheap with quality 1/3, dear 0 cheap with quality 2/3.
    assert rows["best_single"].metrics["hypervolume"] == pytest.approx(9 / 13 / 3)
    # The oracle adds better settings, the zero router only the dear one, which dominates nothing of its own.
    assert rows["zero_router"].metrics["hypervolume"] == pytest.approx(9 / 13 / 3)
    assert (rows["oracle"].metrics["hypervolume"] or 0) > 9 / 13 / 3
    assert rows["oracle"].metrics["pareto_distance"] is None
    wishes = [(quality / 10, 1 - quality / 10) for quality in range(11)]
    alone = np.mean([max(q * 2 / 3, c * 4 / 13) for q, c in wishes])
    both = np.mean([min(max(q * 2 / 3, c * 4 / 13), max(q * 1 / 3, c)) for q, c in wishes])
    assert rows["best_single"].metrics["r2"] == pytest.approx(alone)
    assert rows["zero_router"].metrics["r2"] == pytest.approx(both)
