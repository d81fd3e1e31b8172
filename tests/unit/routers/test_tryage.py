"""Tryage's promises (arXiv 2308.11601), held by the shipped router on its own experts and on pools drawn by lot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.experts.spec import ExpertSpec, PoolView, Source
from pointsman.routers.artifacts import load_router
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Assessment, Budget, Classification, Qualities, Quality, RouteRequest, Weights

PROMPTS = (
    "def merge(a, b):\n    return sorted(a + b)",
    "Tom has 3 boxes of 12 pencils and gives away 7. How many are left?",
    "Does aspirin lower the risk of stroke in elderly patients?",
    "To be, or not to be, that is the question",
    "What is the capital of Mongolia?",
)
SIZES_B = {"nano-code": 3.0, "nano-math": 1.0, "nano-clinical": 8.0, "nano-prose": 8.0, "nano-general": 70.0}


@pytest.fixture(scope="module")
def router() -> TwoStageRouter:
    return load_router("default", uncertain_to_generalist=False)


def pool(*left_out: str) -> PoolView:
    return PoolView.of(
        *(ExpertSpec(name, "fake", name, params_total_b=size) for name, size in SIZES_B.items() if name not in left_out)
    )


def ranking(router: TwoStageRouter, assessment: Assessment, view: PoolView, weights: Weights) -> list[str]:
    decision = router.select(assessment, RouteRequest("id", "", 10, budget=Budget(weights=weights)), view)
    return [str(decision.expert), *decision.fallbacks]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_boundless_price_on_size_takes_the_smallest_that_is_admissible(router: TwoStageRouter, prompt: str) -> None:
    assessment = router.assess(RouteRequest("id", prompt, 10))
    weights = Weights(size=1e9)
    assert ranking(router, assessment, pool(), weights)[0] == "nano-math"
    assert ranking(router, assessment, pool("nano-math"), weights)[0] == "nano-code"
    # Of two that are equally small, the one of higher predicted quality.
    left = ranking(router, assessment, pool("nano-math", "nano-code"), weights)
    quality = assessment.quality
    assert left[0] == max(("nano-clinical", "nano-prose"), key=lambda name: quality[name].mean)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("gone", list(SIZES_B))
def test_removing_an_expert_never_changes_the_ranking_of_the_others(
    router: TwoStageRouter, prompt: str, gone: str
) -> None:
    assessment = router.assess(RouteRequest("id", prompt, 10))
    whole = ranking(router, assessment, pool(), Weights())
    assert ranking(router, assessment, pool(gone), Weights()) == [name for name in whole if name != gone]


def drawn(qualities: np.ndarray) -> list[Assessment]:
    """Assessments with the given predicted qualities, shape (n, m)."""
    seen = Classification({"any": 1.0}, "any", 0.0)
    return [
        Assessment(seen, Qualities.of({f"e{j}": Quality(float(q), 0.1, Source.MEASURED) for j, q in enumerate(row)}))
        for row in qualities
    ]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), experts=st.integers(2, 7))
def test_the_front_is_monotone_and_no_mixture_of_experts_lies_above_it(
    router: TwoStageRouter, seed: int, experts: int
) -> None:
    """Where predictions are true, the sweep's hull holds every single expert and so every mixture of two."""
    rng = np.random.default_rng(seed)
    sizes = np.sort(rng.uniform(1.0, 100.0, experts))
    qualities = rng.uniform(0.0, 1.0, (40, experts)) * 0.5 + rng.uniform(0.0, 0.5, experts)
    view = PoolView.of(*(ExpertSpec(f"e{j}", "fake", "m", params_total_b=float(s)) for j, s in enumerate(sizes)))
    assessments = drawn(qualities)
    lambdas = (0.0, *np.geomspace(0.01, 30.0, 25))
    size, quality = [], []
    for price in lambdas:
        chosen = [int(ranking(router, a, view, Weights(size=float(price)))[0][1:]) for a in assessments]
        size.append(sizes[chosen].mean())
        quality.append(qualities[np.arange(len(chosen)), chosen].mean())
    assert (np.diff(size) <= 1e-9).all()
    assert (np.diff(quality) <= 1e-9).all()
    # At every price the chosen point supports the hull: no single expert, hence no mixture, lies beyond that line.
    for price, x, y in zip(lambdas, size, quality, strict=True):
        alone = qualities.mean(axis=0) - price * sizes / sizes.max()
        assert (alone <= y - price * x / sizes.max() + 1e-9).all()


def test_a_heads_prediction_does_not_know_of_the_other_heads() -> None:
    rng = np.random.default_rng(0)
    base, means = rng.random(4).astype(np.float32), rng.random((4, 3)).astype(np.float32)

    def heads(keep: list[int]) -> BlendedQuality:
        part = CategoryMeans(means[keep], np.full((len(keep), 3), 0.1, np.float32))
        return BlendedQuality([f"e{j}" for j in keep], ["a", "b", "c"], base[keep], BlendWeights(0.7), category=part)

    seen = Classification({"a": 0.2, "b": 0.5, "c": 0.3}, "b", 1.0)
    vector = np.zeros(2, np.float32)
    whole = heads([0, 1, 2, 3]).estimate(vector, seen)
    for gone in range(4):
        left = heads([j for j in range(4) if j != gone]).estimate(vector, seen)
        # Near, not equal: a product of matrices may round in another order when their shapes differ.
        assert [left[name].mean for name in left] == pytest.approx([whole[name].mean for name in left], rel=1e-6)
        # A deviation is the root of a difference of moments, which loses another digit.
        assert [left[name].std for name in left] == pytest.approx([whole[name].std for name in left], rel=1e-5)
