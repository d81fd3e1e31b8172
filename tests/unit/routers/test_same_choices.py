"""A fresh decision is the one that the formulas, worked out slowly, make: the same expert, and the same figures.

On the prompts of every outcome table, compiled and not, over the pool that ships and over a larger one in which every
figure counts.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointsman.experts.spec import Capability, EnergyModel, ExpertSpec, ExpertState, LatencyModel, PoolView, Price
from pointsman.routers.artifacts import RouterParts, load_parts
from pointsman.routers.embed.lexical import LexicalEmbedder
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights, CategoryMeans, LinearHeads
from pointsman.routers.estimators.tokens import CompletionTokens
from pointsman.routers.types import Assessment, Budget, RouteRequest, Weights
from tests.unit.routers.natural_prompts import HELD_OUT_PROMPTS, TUNED_PROMPTS
from tests.unit.routers.plain_assessment import plain_assess
from tests.unit.routers.reference import plain_select

SHIPPED = load_parts("default")
PRICED = Budget(max_latency_ms=1e5, min_quality=0.05, weights=Weights(latency=0.1, energy=0.1, cost=0.2))
TABLES = ("clinc150", "mmlu_pro", "routellm", "routerbench_part", "ulab9")
#: Prompts that are looked at of each table.
COUNT = 500


def larger() -> RouterParts:
    """The artefact that ships, with heads and answer lengths for twelve experts."""
    random = np.random.default_rng(3)
    names, categories = [f"expert-{index}" for index in range(12)], SHIPPED.classifier.categories
    shape = (len(names), len(categories))
    mean = random.uniform(0.2, 0.9, shape).astype(np.float32)
    heads = random.normal(0, 0.05, (len(names), SHIPPED.embedder.dim)).astype(np.float32)
    by_category = random.normal(0, 0.05, shape).astype(np.float32)
    quality = BlendedQuality(
        names,
        categories,
        mean.mean(axis=1),
        BlendWeights(category=0.6, linear=0.3),
        category=CategoryMeans(mean, np.full(shape, 0.02, np.float32)),
        linear=LinearHeads(heads, mean.mean(axis=1), by_category),
    )
    tokens = random.uniform(50, 500, shape).astype(np.float32)
    return replace(SHIPPED, quality=quality, tokens=CompletionTokens(names, categories, tokens, 2 * tokens))


def view_of(parts: RouterParts) -> PoolView:
    return PoolView(
        tuple(
            (
                ExpertSpec(
                    name,
                    "fake",
                    name,
                    price=Price(0.1 + 0.05 * index, 0.4),
                    latency=LatencyModel(100.0 + index, 0.1, 10.0),
                    energy=EnergyModel(1.0, 0.01, 0.1 * index),
                    generalist=index == 2,
                ),
                ExpertState(in_flight=index % 3),
            )
            for index, name in enumerate(parts.quality.experts)
        )
    )


def held_equal(parts: RouterParts, texts: list[str], budget: Budget) -> None:
    view, plain = view_of(parts), plain_assess(parts)
    plainer = LexicalEmbedder.from_parts(
        parts.embedder.spec(), parts.embedder.tensors(), str(parts.embedder.tokenizer_json()), kernel=None
    )
    routers = [parts.router(), replace(parts, embedder=plainer).router()]
    for text in texts:
        request = RouteRequest("r", text, 100, required=frozenset({Capability.CHAT}), budget=budget)
        expected = plain(text)
        names, reason, *_ = plain_select(expected, request, view)
        for router in routers:
            found = router.assess(request)
            decision = router.select(found, request, view)
            assert (decision.expert, decision.reason) == (names[0] if names else None, reason), text
            same_figures(found, expected)


def same_figures(found: Assessment, expected: Assessment) -> None:
    """Within what a sum of some hundred float32 leaves open."""
    kind, told = found.classification, expected.classification
    assert (kind.category, kind.uncertain, kind.out_of_scope) == (told.category, told.uncertain, told.out_of_scope)
    np.testing.assert_allclose(list(kind.posterior.values()), list(told.posterior.values()), atol=5e-6)
    assert kind.entropy == pytest.approx(told.entropy, abs=1e-5)
    np.testing.assert_allclose(found.quality.mean, expected.quality.mean, atol=1e-6)
    np.testing.assert_allclose(found.quality.std, expected.quality.std, atol=2e-5)
    np.testing.assert_allclose(found.completion_tokens.mean, expected.completion_tokens.mean, rtol=5e-6)
    np.testing.assert_allclose(found.completion_tokens.q95, expected.completion_tokens.q95, rtol=5e-6)


@pytest.mark.parametrize(("parts", "budget"), [(SHIPPED, Budget()), (larger(), PRICED)], ids=["shipped", "larger"])
def test_on_prompts_people_write(parts: RouterParts, budget: Budget) -> None:
    texts = [text for group in (TUNED_PROMPTS, HELD_OUT_PROMPTS) for prompts in group.values() for text in prompts]
    held_equal(parts, ["", "zzqxj", *texts], budget)


@pytest.mark.shared
@pytest.mark.parametrize(("parts", "budget"), [(SHIPPED, Budget()), (larger(), PRICED)], ids=["shipped", "larger"])
@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_on_every_table(table: str, parts: RouterParts, budget: Budget, shared_data: Path) -> None:
    polars = pytest.importorskip("polars")
    texts = polars.read_parquet(shared_data / table / "prompts.parquet")["prompt"].to_list()
    held_equal(parts, texts[:: max(1, len(texts) // COUNT)][:COUNT], budget)
