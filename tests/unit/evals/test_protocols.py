"""What is left out is left out: of the fit, and of nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pointsman.evals.baselines import baselines
from pointsman.evals.contenders import FITTED, Contender, compete
from pointsman.evals.crossfit import merge_folds
from pointsman.evals.errors import EvalError
from pointsman.evals.evaluate import evaluate
from pointsman.evals.fitting import fit_on_table
from pointsman.evals.policies import Trial, make_trial
from pointsman.evals.protocols.division import Protocol, divide
from pointsman.evals.protocols.onboarding import onboard
from pointsman.evals.protocols.resplit import resplit
from pointsman.evals.protocols.transfer import transfer_trial
from pointsman.evals.tables import OutcomeTable
from pointsman.routers.artifacts import RouterParts


@pytest.fixture
def trial(table: OutcomeTable) -> Trial:
    return make_trial(table)


def test_leave_one_category_out(trial: Trial) -> None:
    division = divide(trial, Protocol.LOCO, "train", 5, 0)
    assert "3 rounds" in division.note
    evaluated: list[str] = []
    for fold in division.folds:
        (held,) = set(fold.trial.test.categories)
        assert held not in fold.trial.train.categories
        assert set(fold.trial.train.prompt_ids) <= set(trial.train.prompt_ids), "never learned on evaluated prompts"
        evaluated += fold.trial.test.prompt_ids
    assert sorted(evaluated) == sorted(trial.test.prompt_ids)
    # The true category's best expert cannot be known for a category without a train prompt: best single is left.
    merged = merge_folds(trial, division.folds, [baselines(fold.trial) for fold in division.folds])
    rows = {row.name: row for row in evaluate(trial, merged, 0).rows}
    assert rows["category_oracle"].metrics["quality"] == rows["best_single"].metrics["quality"]
    inside = {row.name: row for row in evaluate(trial, baselines(trial), 0).rows}["category_oracle"].metrics["quality"]
    assert inside is not None
    assert rows["category_oracle"].metrics["quality"] is not None
    assert rows["category_oracle"].metrics["quality"] < inside - 0.1


def test_leave_one_data_set_out_needs_two(trial: Trial) -> None:
    with pytest.raises(EvalError, match="every evaluated prompt is of the data set 'synthetic'"):
        divide(trial, Protocol.LODO, "train", 5, 0)


def test_without_a_train_split_the_other_groups_are_learned_from(table: OutcomeTable) -> None:
    trial = make_trial(replace(table, splits=("test",) * len(table)))
    for fold in divide(trial, Protocol.LOCO, "train", 5, 0).folds:
        assert len(fold.trial.train) + len(fold.trial.test) == len(table)


def test_a_router_fitted_without_a_domain_is_not_below_best_single_there(trial: Trial) -> None:
    division = divide(trial, Protocol.LOCO, "train", 5, 0)
    fold = division.folds[0]
    routers, yardsticks = compete(fold.trial, [Contender(FITTED, None)], lambda _: lambda _: None)
    rows = {row.name: row for row in evaluate(fold.trial, [*routers, *yardsticks], 200, 0).rows}
    around = rows[FITTED].intervals.get("quality_minus_best_single")
    assert around is not None
    assert around[1] >= 0


def test_resplit_moves_prompts_and_keeps_near_duplicates_together(table: OutcomeTable) -> None:
    twin = table.prompts[0]
    doubled = replace(table, prompts=(twin, twin, *table.prompts[2:]))
    one, same, other = (resplit(doubled, ("train", "test"), seed) for seed in (42, 42, 999))
    assert one.splits == same.splits != other.splits
    assert one.splits.count("train") == pytest.approx(0.7 * len(table), abs=10)
    for seed in range(8):
        splits = resplit(doubled, ("train", "test"), seed).splits
        assert splits[0] == splits[1]
    kept = replace(table, splits=("val", *table.splits[1:]))
    assert resplit(kept, ("train", "test"), 1).splits[0] == "val"


def test_transfer_learns_on_one_table_and_is_judged_on_the_other(table: OutcomeTable) -> None:
    source = table.rows(np.arange(300))
    target = replace(table.rows(np.arange(290, 600)), experts=("a", "b", "c"), name="elsewhere")
    trial = transfer_trial(source, target, {"b": source.experts[1], "a": source.experts[0]})
    assert trial.test.experts == ("b", "a")
    assert (trial.test.scores == target.scores[:, [1, 0]]).all()
    # Ten prompts stand in both tables: they are judged and not learned from.
    assert len(trial.train) == 290
    assert trial.dropped == 10
    with pytest.raises(EvalError, match="at least two"):
        transfer_trial(source, target, {"a": source.experts[0]})


def test_a_new_expert_is_used_better_with_more_scored_prompts(trial: Trial) -> None:
    newcomer = trial.test.experts[0]

    def place(
        parts: RouterParts,
        name: str,
        texts: Sequence[str],
        scores: npt.NDArray[np.float64],
        *,
        card: str | None = None,
    ) -> RouterParts:
        """Fit again on those prompts alone: what a placement gets to see is all it needs here."""
        at = [trial.train.prompts.index(text) for text in texts]
        assert (trial.train.scores[at, 0] == scores).all()
        assert name == newcomer
        assert name not in parts.quality.experts
        known = np.zeros(len(trial.train), dtype=bool)
        known[at] = True
        column = np.where(known, trial.train.scores[:, 0], np.nan)
        seen = np.column_stack([column, trial.train.scores[:, 1:]])
        return fit_on_table(replace(trial.train, scores=seen), "placed")

    rows = onboard(trial, newcomer, place, labelled=(0, 30, 150), card="writes and explains code", resamples=200)
    found = {(row.way, row.labelled): row for row in rows}
    without, full = found["without", 0], next(row for row in rows if row.way == "known in full")
    assert without.minus_without == 0
    assert without.asked == 0
    assert full.minus_without_ci95[0] > 0.05, "it is the best by far on its own subject"
    assert found["refitted", 150].minus_without > 0.5 * full.minus_without
    assert found["refitted", 150].brier < found["added mean", 150].brier
    assert found["placed", 30] == replace(found["refitted", 30], way="placed")
    assert ("card alone", 0) in found
    assert {row.best for row in rows} == {full.best}


def test_onboarding_needs_somebody_to_join(trial: Trial) -> None:
    with pytest.raises(EvalError, match="at least two other experts"):
        onboard(trial, "ghost")
