"""Predicted quality: the blend by hand, thin evidence, independence of heads, and restriction to subsets."""

import numpy as np
import pytest

from pointsman.experts.spec import Source
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans, LinearHeads
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.types import Classification

HALF = Classification({"code": 0.5, "math": 0.5}, "code", 0.69)
CODE = Classification({"code": 1.0, "math": 0.0}, "code", 0.0)
VECTOR = np.array([1.0, 0.0, 99.0], dtype=np.float32)


def quality(weights: BlendWeights) -> BlendedQuality:
    return BlendedQuality(
        ("a", "b"),
        ("code", "math"),
        np.array([0.5, 0.4], dtype=np.float32),
        weights,
        category=CategoryMeans(
            np.array([[0.9, 0.1], [0.4, 0.4]], dtype=np.float32), np.array([[0.1, 0.2], [0.0, 0.0]], dtype=np.float32)
        ),
        linear=LinearHeads(
            np.array([[0.2, 0], [0, 0]], dtype=np.float32),
            np.array([0.5, 0.4], dtype=np.float32),
            np.array([[0.1, 0], [0, 0]], dtype=np.float32),
        ),
    )


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (BlendWeights(), (0.5, 0.4)),
        (BlendWeights(category=1.0), (0.9, 0.4)),
        (BlendWeights(linear=1.0), (0.8, 0.4)),
        (BlendWeights(0.5, 0.25), (0.5 + 0.5 * 0.4 + 0.25 * 0.3, 0.4)),
    ],
)
def test_the_blend_by_hand(weights, expected):
    found = quality(weights).estimate(VECTOR, CODE)
    assert (found["a"].mean, found["b"].mean) == pytest.approx(expected, abs=1e-6)
    assert found["a"].source is Source.MEASURED


def test_the_uncertainty_is_total_variance():
    found = quality(BlendWeights(category=1.0)).estimate(VECTOR, HALF)
    within = (0.1**2 + 0.2**2) / 2
    between = ((0.9 - 0.5) ** 2 + (0.1 - 0.5) ** 2) / 2
    assert found["a"].std == pytest.approx((within + between) ** 0.5, rel=1e-5)
    assert found["b"].std == pytest.approx(0.0, abs=1e-3)


def test_predictions_stay_within_the_scale():
    heads = BlendedQuality(
        ("a",),
        ("code", "math"),
        np.array([0.9], dtype=np.float32),
        BlendWeights(linear=1.0),
        linear=LinearHeads(np.array([[5.0, 0]], dtype=np.float32), np.zeros(1, dtype=np.float32)),
    )
    assert heads.estimate(VECTOR, CODE)["a"].mean == 1.0
    assert np.isnan(heads.estimate(VECTOR, CODE)["a"].std)


def test_one_prompt_and_many_agree():
    heads = quality(BlendWeights(0.4, 0.3))
    vectors = np.stack([VECTOR, np.array([0.0, 1.0, 0.0], dtype=np.float32)])
    posteriors = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    many = heads.predict(vectors, posteriors)
    for row, vector, seen in zip(many, vectors, (CODE, HALF), strict=True):
        assert [value.mean for value in heads.estimate(vector, seen).values()] == pytest.approx(row.tolist(), abs=1e-6)


def test_a_weight_needs_its_part():
    with pytest.raises(ValueError, match="linear"):
        BlendedQuality(("a",), ("c",), np.zeros(1, np.float32), BlendWeights(linear=0.5))


def test_an_artefact_brings_the_heads_back():
    heads = quality(BlendWeights(0.4, 0.3))
    back = BlendedQuality.from_parts(heads.spec(), heads.tensors())
    assert [q.mean for q in back.estimate(VECTOR, HALF).values()] == pytest.approx(
        [q.mean for q in heads.estimate(VECTOR, HALF).values()], abs=1e-3
    )


def test_heads_that_look_among_neighbours_are_refused():
    heads = quality(BlendWeights(0.4, 0.3))
    old = {**heads.spec(), "blend": {"category": 0.4, "linear": 0.3, "neighbours": 0.3}}
    with pytest.raises(ValueError, match="train it again"):
        BlendedQuality.from_parts(old, heads.tensors())


def test_an_expert_moves_no_other():
    both = quality(BlendWeights(0.4, 0.3))
    tensors = {name: values[:1] for name, values in both.tensors().items()}
    alone = BlendedQuality.from_parts({**both.spec(), "experts": ["a"]}, tensors)
    assert alone.estimate(VECTOR, HALF)["a"] == both.estimate(VECTOR, HALF)["a"]


def test_lengths_are_mixed_by_the_posterior():
    tokens = CompletionTokens(
        ("a",), ("code", "math"), np.array([[100, 300]], np.float32), np.array([[200, 250]], np.float32)
    )
    assert tokens.estimate(HALF)["a"] == (200.0, 225.0)
    assert tokens.estimate(Classification({"code": 0.0, "math": 1.0}, "math", 0.0))["a"] == (300.0, 300.0)
    back = CompletionTokens.from_parts(tokens.spec(), tokens.tensors())
    assert back.estimate(HALF) == tokens.estimate(HALF)
