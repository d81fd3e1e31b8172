"""An expert with nothing but a card gets its domain's prompts, and no others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pointsman.experts.spec import ExpertSpec, PoolView, Source
from pointsman.routers.artifacts import load_router
from pointsman.routers.classifiers.cards import CardReader
from pointsman.routers.estimators.cards import OPTIMISM, between
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import RouteRequest

PROMPTS = {
    "code": (
        "Write a Python function that reverses a linked list.",
        "Why does my for loop raise an IndexError?\n\nfor i in range(len(xs) + 1):\n    print(xs[i])",
        "Refactor this class so that it uses a dataclass: class Point: def __init__(self, x, y): self.x = x",
        "Explain what `async def` does in Python and debug this coroutine.",
        "Implement binary search over a sorted list in JavaScript.",
    ),
    "math": (
        "A train travels 60 miles in 1.5 hours. How many miles does it travel in 4 hours?",
        "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?",
        "If 3 apples cost $2.40, how much do 7 apples cost?",
    ),
    "law": (
        "Under the common law, when does an offeree's silence count as acceptance of a contract?",
        "A defendant is charged with burglary. Which element must the prosecution prove?",
        "May the plaintiff recover damages for negligence if the tort statute bars the claim?",
    ),
}
CARDS = {
    "code": "writes, explains and debugs Python code",
    "math": "solves mathematical problems step by step",
    "law": "A legal assistant for contracts and law",
}


@pytest.fixture(scope="module")
def router() -> TwoStageRouter:
    return load_router("default")


def pool(*newcomers: ExpertSpec) -> PoolView:
    """The pool the default artefact knows, and who joins it."""
    sizes = {"params_total_b": 0.005}
    known = [ExpertSpec(name, "fake", name, **sizes) for name in ("nano-code", "nano-math", "nano-clinical")]
    general = ExpertSpec("nano-general", "fake", "nano-general", generalist=True, **sizes)
    return PoolView.of(*known, general, *newcomers)


def answered(router: TwoStageRouter, text: str, view: PoolView) -> str | None:
    return router.decide(RouteRequest("r", text, 50), view).expert


@pytest.mark.parametrize("domain", CARDS)
@pytest.mark.parametrize("size_b", [None, 0.005, 70.0])
def test_a_card_wins_its_domain_and_nothing_else(router: TwoStageRouter, domain: str, size_b: float | None) -> None:
    view = pool(ExpertSpec("new", "fake", "new", card=CARDS[domain], params_total_b=size_b))
    for category, prompts in PROMPTS.items():
        share = np.mean([answered(router, text, view) == "new" for text in prompts])
        assert share >= 0.6 if category == domain else share == 0.0, (category, share)


@pytest.mark.parametrize(
    "card",
    ["", "  ", "Qwen 7B instruct", "fast and cheap small model", "Frontier model, best at everything", "äöü ∑ 🎉"],
)
def test_praise_without_a_domain_claims_none(router: TwoStageRouter, card: str) -> None:
    assert CardReader(router.embedder, router.classifier).claims(card) is None
    silent, praised = (pool(ExpertSpec("new", "fake", "new", card=text, params_total_b=0.005)) for text in ("", card))
    for prompts in PROMPTS.values():
        for text in prompts:
            assert answered(router, text, silent) == answered(router, text, praised)


def test_claims_are_shares_of_the_largest(router: TwoStageRouter) -> None:
    claims = CardReader(router.embedder, router.classifier).claims("good at biology and chemistry questions")
    assert claims is not None
    assert max(claims.values()) == 1.0
    assert {"biology", "chemistry"} <= {name for name, claim in claims.items() if claim > 0.9}
    assert max(claims.get(name, 0.0) for name in ("code", "law", "math", "travel")) < 0.1


def test_the_explanation_says_that_it_rests_on_a_statement(router: TwoStageRouter) -> None:
    view = pool(ExpertSpec("new", "fake", "new", card=CARDS["code"], params_total_b=70.0))
    sources = {}
    for category in ("code", "math"):
        decision = router.decide(RouteRequest("r", PROMPTS[category][0], 50), view)
        told = {candidate.spec.name: candidate.estimates.quality for candidate in decision.candidates}
        sources[category] = told["new"].source
        assert told["new"].std == pytest.approx(0.2)
        others = [quality.mean for name, quality in told.items() if name != "new"]
        if category == "code":
            assert max(others) < told["new"].mean <= max(others) + OPTIMISM + 1e-9
        else:
            assert told["new"].mean < max(others)
    assert sources == {"code": Source.STATED, "math": Source.ESTIMATED}


def test_a_stated_prior_goes_before_the_card(router: TwoStageRouter) -> None:
    new = ExpertSpec("new", "fake", "new", card=CARDS["code"], quality_prior={"*": 0.01})
    assert answered(router, PROMPTS["code"][0], pool(new)) != "new"
    assert answered(router, PROMPTS["code"][0], pool(dataclasses.replace(new, quality_prior={}))) == "new"


def test_cards_alone_divide_the_prompts_among_them(router: TwoStageRouter) -> None:
    view = PoolView.of(*(ExpertSpec(domain, "fake", domain, card=card) for domain, card in CARDS.items()))
    for domain in ("code", "math"):
        assert [answered(router, text, view) for text in PROMPTS[domain]].count(domain) >= len(PROMPTS[domain]) - 1


def test_levels_by_hand() -> None:
    match, size = np.array([0.0, 0.5, 1.0]), np.array([0.6, 0.6, 0.2])
    # Others at 0.3 and 0.7: out = min(size, 0.5), in = 0.72.
    assert between(match, size, np.array([0.3, 0.7])) == pytest.approx([0.5, 0.61, 0.72])
    # Nobody else: in = (1 + size) / 2.
    assert between(match, size, None) == pytest.approx([0.6, 0.7, 0.6])
