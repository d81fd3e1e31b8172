"""Cross-fitting: every prompt is held out exactly once, and nobody learns from it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pointsman.evals.baselines import baselines
from pointsman.evals.crossfit import fold_trials, merge_folds
from pointsman.evals.errors import EvalError
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import Trial, make_trial
from pointsman.evals.replay import expert_specs, replay
from pointsman.evals.tables import OutcomeTable
from pointsman.routers.two_stage import TwoStageRouter


@pytest.fixture
def trial(table: OutcomeTable) -> Trial:
    return make_trial(replace(table, splits=("test",) * len(table)))


def test_every_prompt_is_held_out_exactly_once(trial: Trial) -> None:
    folds = fold_trials(trial, 5, 0)
    assert sorted(np.concatenate([fold.rows for fold in folds]).tolist()) == list(range(len(trial.test)))
    assert sorted(np.concatenate([fold.priced for fold in folds]).tolist()) == list(range(len(trial.priced)))
    for fold in folds:
        held, seen = set(fold.trial.test.prompt_ids), set(fold.trial.train.prompt_ids)
        assert not held & seen
        assert len(held) + len(seen) == len(trial.test)
        assert fold.trial.priced.prompt_ids == tuple(trial.priced.prompt_ids[i] for i in fold.priced)


def test_near_duplicates_are_never_on_both_sides(trial: Trial) -> None:
    paired = replace(trial, clusters=np.arange(len(trial.test)) // 2)
    for fold in fold_trials(paired, 4, 1):
        assert (np.bincount(fold.rows // 2)[np.unique(fold.rows // 2)] == 2).all()


def test_merged_policies_are_those_of_the_folds(
    trial: Trial, small_router: Callable[..., TwoStageRouter], table: OutcomeTable
) -> None:
    router = small_router(table)
    folds = fold_trials(trial, 3, 0)
    parts = [[replay(router, fold.trial, expert_specs(fold.trial), "small").policy] for fold in folds]
    (merged,) = merge_folds(trial, folds, parts)
    whole = replay(router, trial, expert_specs(trial), "small").policy
    # The same router decides; only the prices in the specs are fitted on other prompts, and those are exact here.
    assert (merged.mix == whole.mix).all()
    assert merged.curve is not None
    assert whole.curve is not None
    assert (merged.curve.choices == whole.curve.choices).mean() > 0.999
    assert merged.latency_ms is not None
    assert merged.artifact_hash == whole.artifact_hash


def test_baselines_are_chosen_out_of_fold(trial: Trial) -> None:
    folds = fold_trials(trial, 5, 0)
    merged = merge_folds(trial, folds, [baselines(fold.trial) for fold in folds])
    rows = {row.name: row for row in evaluate(trial, merged, 50, 0).rows}
    assert rows["best_single"].metrics["gap_closed"] == 0
    assert rows["category_oracle"].metrics["quality"] is not None
    assert rows["category_oracle"].metrics["quality"] > 0.8
    assert rows["oracle"].metrics["gap_closed"] == 1
    assert rows["zero_router"].metrics["aiq"] is not None
    singles = trial.test.scores.mean(axis=0)
    assert rows["zero_router"].metrics["quality"] == pytest.approx(singles.max())


def test_too_few_prompts_for_the_folds_are_refused(trial: Trial) -> None:
    with pytest.raises(EvalError, match="too few for 5 folds"):
        fold_trials(replace(trial, clusters=np.arange(len(trial.test)) % 3), 5, 0)


def test_deferral_scores_are_compared_within_a_fold_only(trial: Trial) -> None:
    folds = fold_trials(trial, 2, 0)
    level = (0.0, 100.0)
    parts = [
        [replace(baselines(fold.trial)[0], deferral_score=height + np.arange(len(fold.rows), dtype=float))]
        for fold, height in zip(folds, level, strict=True)
    ]
    (merged,) = merge_folds(trial, folds, parts)
    assert merged.deferral_score is not None
    for fold in folds:
        assert merged.deferral_score[fold.rows].mean() == pytest.approx(0.5)
        assert (np.diff(merged.deferral_score[fold.rows]) > 0).all()
