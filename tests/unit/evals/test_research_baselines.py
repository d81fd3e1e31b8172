"""The simple learned routers learn what there is to learn, from the train split alone."""

from dataclasses import replace

import numpy as np
import pytest

from pointsman.evals.baselines import baselines
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import make_trial
from pointsman.evals.research_baselines import knn, linear, research_baselines
from pointsman.evals.tables import OutcomeTable
from pointsman.evals.text_features import TextFeatures, text_features

NAN = float("nan")


def test_they_find_the_expert_of_a_subject(table: OutcomeTable) -> None:
    trial = make_trial(table)
    rows = {row.name: row for row in evaluate(trial, [*baselines(trial), *research_baselines(trial)], 200, 0).rows}
    for name in ("knn100", "linear"):
        gain = rows[name].intervals.get("quality_minus_best_single")
        assert gain is not None
        assert gain[0] > 0.1, "each expert is the best on its own subject, and the words tell the subject"
        assert rows[name].metrics["aiq"] is not None
        assert rows[name].metrics["brier"] is not None
        assert rows[name].metrics["brier"] < 0.25


def test_the_scores_of_the_test_split_change_nothing(table: OutcomeTable) -> None:
    trial = make_trial(table)
    blind = replace(trial, test=replace(trial.test, scores=np.ones_like(trial.test.scores)))
    for one, other in zip(research_baselines(trial), research_baselines(blind), strict=True):
        assert (one.mix == other.mix).all()


def test_neighbours_by_hand(table: OutcomeTable) -> None:
    trial = make_trial(table)
    part = replace(
        trial,
        train=trial.train.rows(np.arange(3)),
        test=trial.test.rows(np.arange(2)),
        priced_rows=np.empty(0, dtype=np.int64),
        priced=trial.priced.rows(np.empty(0, dtype=np.int64)),
    )
    scores = np.array([[1, 0, NAN], [0, 1, NAN], [0, 1, 1]], dtype=float)
    part = replace(part, train=replace(part.train, scores=scores))
    near = TextFeatures(train=np.array([[1.0, 0], [0.8, 0.6], [0, 1]]), test=np.array([[1.0, 0], [0, 1]]))
    policy = knn(part, near, neighbours=2)
    assert policy.predicted is not None
    # The third expert is scored on the last prompt alone: the first prompt's neighbours say nothing of it.
    assert policy.predicted.tolist() == [[0.5, 0.5, 1.0], [0.0, 1.0, 1.0]]
    assert linear(part, near).predicted is not None


def test_an_expert_with_no_score_is_never_asked(table: OutcomeTable) -> None:
    trial = make_trial(table)
    scores = trial.train.scores.copy()
    scores[:, 0] = NAN
    for policy in research_baselines(replace(trial, train=replace(trial.train, scores=scores))):
        assert policy.mix[:, 0].sum() == 0
        assert policy.mix.sum(axis=1).tolist() == [1.0] * len(trial.test)


@pytest.mark.parametrize("texts", [["?!", "...", "--"], ["one", "one", "one"]])
def test_prompts_without_words_tell_nothing_apart(texts: list[str]) -> None:
    found = text_features(texts, texts)
    assert np.isfinite(found.test).all()
    assert np.ptp(found.test, axis=0).max() == pytest.approx(0)
