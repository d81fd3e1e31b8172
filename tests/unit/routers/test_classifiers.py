"""Stage 1: posteriors sum to 1, fine classes sum into categories, and not knowing is said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.classifiers.knn import KnnClassifier
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import PosteriorReader, Thresholds, entropy_nats
from pointsman.routers.types import Classification, Doubt

LOOSE = Thresholds(max_entropy=10.0, min_scope=-1e9)


def linear(thresholds: Thresholds = LOOSE, temperature: float = 1.0) -> LinearClassifier:
    return LinearClassifier(
        ("code", "math"),
        np.array([[1, 0], [0.5, 0], [0, 1]], dtype=np.float32),
        np.array([0.1, 0.0, -0.1], dtype=np.float32),
        np.array([0, 0, 1]),
        temperature=temperature,
        thresholds=thresholds,
    )


def knn(thresholds: Thresholds = LOOSE) -> KnnClassifier:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=np.float32)
    return KnnClassifier(("code", "math"), vectors, np.array([0, 0, 1, 1]), k=3, temperature=0.1, thresholds=thresholds)


def test_fine_classes_sum_into_their_category():
    found = linear().classify(np.array([1.0, 2.0], dtype=np.float32))
    exp = np.exp([1.1, 0.5, 1.9])
    assert found.posterior["code"] == pytest.approx((exp[0] + exp[1]) / exp.sum(), rel=1e-5)
    assert found.category == "math" if exp[2] > exp[:2].sum() else "code"


@pytest.mark.parametrize("classifier", [linear(), knn()], ids=["linear", "knn"])
@given(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)))
def test_a_posterior_is_a_distribution(classifier, point):
    found = classifier.classify(np.array(point, dtype=np.float32))
    assert sum(found.posterior.values()) == pytest.approx(1.0, abs=1e-5)
    assert min(found.posterior.values()) >= 0.0
    assert 0.0 <= found.entropy <= math.log(2) + 1e-6


def test_a_higher_temperature_is_less_sure():
    vector = np.array([3.0, 0.0], dtype=np.float32)
    assert linear(temperature=5.0).classify(vector).entropy > linear().classify(vector).entropy


def test_neighbours_vote():
    found = knn().classify(np.array([1.0, 0.0], dtype=np.float32))
    assert found.category == "code"
    assert found.posterior["code"] > 0.8


def test_the_scope_score_of_neighbours_falls_with_distance():
    _, scopes = knn().posteriors(np.array([[1.0, 0.0], [0.0, -1.0]], dtype=np.float32))
    assert scopes[0] > scopes[1]


def test_entropy_by_hand():
    assert entropy_nats([0.5, 0.5]) == pytest.approx(math.log(2))
    assert entropy_nats([1.0, 0.0]) == 0.0


POSTERIOR = {"code": 0.6, "math": 0.3, "travel": 0.1}


def classification(posterior: dict[str, float], scope: float, thresholds: Thresholds) -> Classification:
    return PosteriorReader(tuple(posterior), thresholds).classification(
        np.array(list(posterior.values()), dtype=np.float32), scope
    )


def test_uncertain_and_out_of_scope_classifications():
    sure = classification(POSTERIOR, 1.0, Thresholds(2.0, 0.0))
    assert (sure.category, sure.uncertain, sure.out_of_scope) == ("code", False, False)
    blurred = classification(POSTERIOR, 1.0, Thresholds(0.5, 0.0))
    assert (blurred.category, blurred.uncertain, blurred.out_of_scope) == ("uncertain", True, False)
    outside = classification(POSTERIOR, -1.0, Thresholds(2.0, 0.0))
    assert (outside.category, outside.uncertain, outside.out_of_scope) == ("out_of_scope", True, True)


def test_a_category_nobody_was_measured_on_is_known_and_goes_to_a_generalist():
    unmeasured = classification(POSTERIOR, 1.0, Thresholds(2.0, 0.0, measured=("math", "travel")))
    assert (unmeasured.category, unmeasured.uncertain, unmeasured.unmeasured) == ("code", False, True)
    assert unmeasured.for_generalist
    assert unmeasured.doubt is Doubt.UNMEASURED
    assert not classification(POSTERIOR, 1.0, Thresholds(2.0, 0.0, measured=("code",))).uncertain


@pytest.mark.parametrize("classifier", [linear(Thresholds(0.4, 0.1, ("code",))), knn()], ids=["linear", "knn"])
def test_an_artefact_brings_the_classifier_back(classifier):
    back = type(classifier).from_parts(classifier.spec(), classifier.tensors())
    vector = np.array([0.6, 0.8], dtype=np.float32)
    assert back.classify(vector).posterior == pytest.approx(classifier.classify(vector).posterior, rel=1e-3)
    assert back.thresholds == classifier.thresholds


def test_fine_classes_must_be_ordered_by_category():
    with pytest.raises(ValueError, match="ordered by category"):
        LinearClassifier(
            ("a", "b"),
            np.zeros((2, 2), np.float32),
            np.zeros(2, np.float32),
            np.array([1, 0]),
            temperature=1.0,
            thresholds=LOOSE,
        )
