"""The policies of the MoE² study on prompts whose answers are worked out by hand."""

import numpy as np
import pytest

from pointsman.evals.studies.moe2 import PromptOutcomes, _mean, _pick, _vote
from pointsman.evals.studies.operating_point import gpus

#: Two prompts, four experts; both are of the one category there is.
GROUND = PromptOutcomes(
    quality=np.array([[0.8, 0.5, 0.5, 0.1], [0.6, 0.5, 0.5, 0.1]]),
    category=np.array([0, 0]),
    scores=np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]),
    answers=np.array([[0, 1, 1, 2], [0, 1, 1, -1]], dtype=np.int32),
    worst_j=np.array([10.0, 2.0, 3.0, 1.0]),
    worst_ms=np.array([[100.0, 50.0, 60.0, 10.0]]),
    joules=np.array([[10.0, 2.0, 3.0, 1.0]] * 2),
    milliseconds=np.array([[100.0, 50.0, 60.0, 10.0]] * 2),
)
NOBODY_SLOW = np.zeros((1, 4), dtype=np.bool_)
ALL = np.arange(4)


def test_two_that_agree_outvote_one_that_is_better_unless_it_is_much_better():
    # ln(9 · 0.8 / 0.2) = 3.58 against 2 ln 9 = 4.39; 0.95 would weigh ln 171 = 5.14.
    voted = _vote(GROUND, NOBODY_SLOW, ALL, 3)
    assert voted.score.tolist() == [0.0, 1.0]
    sure = PromptOutcomes(
        np.array([[0.95, 0.5, 0.5, 0.1]] * 2),
        *(getattr(GROUND, name) for name in list(PromptOutcomes.__slots__)[1:]),
    )
    assert _vote(sure, NOBODY_SLOW, ALL, 3).score.tolist() == [1.0, 0.0]


def test_a_vote_spends_all_it_asks_and_waits_for_the_slowest():
    voted = _vote(GROUND, NOBODY_SLOW, np.array([1, 2, 3]), 2)
    assert voted.joules.tolist() == [5.0, 5.0]
    assert voted.milliseconds.tolist() == [60.0, 60.0]


def test_slow_experts_are_filtered_and_an_empty_set_is_a_refusal():
    slow = np.array([[True, False, False, False]])
    assert _pick(GROUND, slow, ALL, GROUND.quality).score.tolist() == [0.0, 1.0]
    refused = _vote(GROUND, slow, np.array([0]), 1)
    assert refused.score.tolist() == [0.0, 0.0]
    assert refused.joules.tolist() == [0.0, 0.0]


def test_drawing_by_lot_is_the_mean_of_the_awake():
    assert _mean(GROUND, NOBODY_SLOW, np.array([0, 1])).joules.tolist() == [6.0, 6.0]


@pytest.mark.parametrize(("billions", "expected"), [(8, 1), (35, 1), (46.7, 4), (111, 4), (398, 8)])
def test_gpus_at_the_operating_point(billions, expected):
    assert gpus(billions) == expected
