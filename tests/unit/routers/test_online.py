"""Learning from judged answers: sums that merge in any order, and corrections that only disagreement moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.spec import PoolView, Source
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.estimators.online import LEAST_PRIOR, MOST_PRIOR, Corrections, Tally, merged
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Classification, Quality
from tests.unit.routers.pools import assessment, request, spec
from tests.unit.routers.tiny import tiny_embedder

HALF_LIFE_S = 3600.0
CODE, MATH = {"code": 1.0, "math": 0.0}, {"code": 0.0, "math": 1.0}

_cells = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["code", "math"])),
    st.tuples(st.floats(0, 100), st.floats(-50, 50)),
)
tallies = st.builds(Tally, _cells, st.floats(0, 1e5))


def classified(posterior: dict[str, float]) -> Classification:
    return Classification(posterior, max(posterior, key=posterior.__getitem__), 0.0)


def same(one: Tally, other: Tally) -> None:
    assert one.as_of_s == other.as_of_s
    assert one.cells.keys() == other.cells.keys()
    for cell, values in one.cells.items():
        assert values == pytest.approx(other.cells[cell], rel=1e-9, abs=1e-9)


@given(tallies, tallies, tallies)
def test_counters_merge_in_any_order_and_grouping(a: Tally, b: Tally, c: Tally) -> None:
    same(merged([a, b, c], HALF_LIFE_S), merged([c, a, b], HALF_LIFE_S))
    same(merged([merged([a, b], HALF_LIFE_S), c], HALF_LIFE_S), merged([a, merged([b, c], HALF_LIFE_S)], HALF_LIFE_S))


def test_a_judgement_weighs_half_after_a_half_life() -> None:
    tally = Tally(as_of_s=100.0).judged("a", CODE, -0.4)
    assert tally.cells == {("a", "code"): (1.0, -0.4)}
    later = tally.at(100.0 + HALF_LIFE_S, HALF_LIFE_S)
    assert later.cells["a", "code"] == pytest.approx((0.5, -0.2))
    assert later.at(50.0, HALF_LIFE_S) == later, "a clock that goes back changes nothing"


def test_correction_by_hand() -> None:
    tally = Tally()
    for _ in range(10):
        tally = tally.judged("a", {"code": 0.5, "math": 0.5}, -0.6)
    # std 0.1 is worth 0.25 / 0.01 = 25 judgements; each cell has N = 5, R = -3.
    told = Corrections(tally).corrected_one("a", Quality(0.8, 0.1, Source.MEASURED), classified(CODE))
    assert told.mean == pytest.approx(0.8 - 3 / (5 + 25))
    assert told.learned == pytest.approx(-0.1)
    assert told.std == pytest.approx(math.sqrt(0.25 / 30))
    assert told.source is Source.MEASURED


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=200), st.floats(0.01, 0.5))
def test_judgements_that_agree_on_average_move_nothing(judged: list[float], std: float) -> None:
    predicted = float(np.mean(judged))
    tally = Tally()
    for quality in judged:
        tally = tally.judged("a", CODE, quality - predicted)
    corrected = Corrections(tally).corrected_one("a", Quality(predicted, std, Source.MEASURED), classified(CODE))
    assert corrected.mean == pytest.approx(predicted, abs=1e-9)
    assert corrected.std <= std


@given(
    st.lists(st.tuples(st.sampled_from([CODE, MATH]), st.floats(-1, 1)), max_size=50),
    st.floats(0, 1),
    st.just(math.nan) | st.floats(0, 1),
)
def test_quality_stays_within_bounds_and_many_ways_agree(
    judged: list[tuple[dict[str, float], float]], mean: float, std: float
) -> None:
    tally = Tally()
    for posterior, residual in judged:
        tally = tally.judged("a", posterior, residual)
    learned = Corrections(tally)
    for posterior in (CODE, MATH, {"other": 1.0}):
        kind = classified(posterior)
        one = learned.corrected_one("a", Quality(mean, std, Source.ESTIMATED), kind)
        column = learned.corrected(("b", "a"), np.array([0.5, mean]), np.array([0.1, std]), kind)
        assert 0.0 <= one.mean <= 1.0
        assert column.tolist() == [0.5, one.mean], "nobody was judged but a"
        assert abs(one.learned) <= len(judged) / (len(judged) + LEAST_PRIOR) + 1e-9


def test_the_artefact_s_evidence_holds_a_correction_back() -> None:
    tally = Tally().judged("a", CODE, -1.0)
    moved = [
        -Corrections(tally).corrected_one("a", Quality(1.0, std, Source.MEASURED), classified(CODE)).learned
        for std in (1e-6, 0.05, 0.1, math.nan)
    ]
    assert moved == sorted(moved)
    assert moved[0] == pytest.approx(1 / (1 + MOST_PRIOR))
    assert moved[-1] == pytest.approx(1 / (1 + LEAST_PRIOR))


def test_corrections_change_the_choice_and_are_explained() -> None:
    embedder = tiny_embedder()
    weights = np.zeros((2, embedder.dim), np.float32)
    certain = Thresholds(max_entropy=9.0, min_scope=-99.0)
    classifier = LinearClassifier(
        ("code", "math"), weights, np.zeros(2, np.float32), np.arange(2), temperature=1.0, thresholds=certain
    )
    router = TwoStageRouter(
        id="r",
        artifact_hash="",
        embedder=embedder,
        classifier=classifier,
        quality=BlendedQuality(("a", "b"), ("code", "math"), np.zeros(2, np.float32), BlendWeights()),
    )
    # The posterior of this assessment is 0.9 code; its predictions are worth 0.25 / 0.05² = 100 judgements.
    given_assessment, view = assessment({"a": 0.7, "b": 0.6}), PoolView.of(spec("a"), spec("b"))
    assert router.select(given_assessment, request(), view).expert == "a"
    tally = Tally()
    for _ in range(40):
        tally = tally.judged("a", CODE, -0.7)
    decision = router.select(given_assessment, request(), view, Corrections(tally))
    assert decision.expert == "b"
    told = {one.spec.name: one.estimates.quality for one in decision.candidates}
    assert told["a"].learned == pytest.approx(0.9 * -0.7 * 40 / 140)
    assert told["b"].learned == 0.0
    assert router.select(given_assessment, request(), view).expert == "a", "nothing is kept from one call to the next"
