"""Null experts in the decision: chosen for what they offer, explained like any other, and blocking what is blocked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pointsman.experts.spec import Capability, EnergyModel, LatencyModel, PoolView, Price
from pointsman.routers.artifacts import load_router
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Budget, Decision, Offer, Offers, Reason, Rule, Weights
from tests.unit.routers.pools import assessment, request, spec

NULL = spec(
    "memory",
    backend="null",
    price=Price(0.0, 0.0),
    energy=EnergyModel(0.0, 0.0, 0.0),
    latency=LatencyModel(1.0, 0.0, 0.0),
)
POOL = PoolView.of(spec("good"), spec("poor"), NULL)


@pytest.fixture(scope="module")
def router() -> TwoStageRouter:
    return load_router("default")


def decide(router: TwoStageRouter, offers: Offers, *, uncertain: bool = False, **changes: object) -> Decision:
    asked = replace(request(), offers=offers, **changes)  # type: ignore[arg-type]
    return router.select(assessment({"good": 0.7, "poor": 0.4}, uncertain=uncertain), asked, POOL)


def rule_of(decision: Decision, expert: str) -> Rule:
    return next(rejection.rule for rejection in decision.rejections if rejection.expert == expert)


def test_without_an_answer_it_is_no_candidate(router: TwoStageRouter) -> None:
    for offers in (Offers(), Offers({"memory": Offer(None, "never seen")})):
        decision = decide(router, offers)
        assert (decision.expert, decision.fallbacks) == ("good", ("poor",))
        assert rule_of(decision, "memory") is Rule.NO_ANSWER


def test_it_competes_by_the_quality_it_offers(router: TwoStageRouter) -> None:
    assert decide(router, Offers({"memory": Offer(0.71, "seen")})).expert == "memory"
    assert decide(router, Offers({"memory": Offer(0.69, "seen")})).expert == "good"
    assert decide(router, Offers({"memory": Offer(0.7, "seen")})).expert == "memory", "at a tie it is the cheaper"
    assert decide(router, Offers({"memory": Offer(0.69, "seen")}, bonus=0.02)).expert == "memory"
    assert decide(router, Offers({"memory": Offer(0.9, "seen")}, bonus=-0.3)).expert == "good", "the dial's price"
    dear = Budget(weights=Weights(cost=0.5))
    assert decide(router, Offers({"memory": Offer(0.4, "seen")}), budget=dear).expert == "memory"


def test_it_is_explained_like_any_other(router: TwoStageRouter) -> None:
    decision = decide(router, Offers({"memory": Offer(0.9, "seen")}, bonus=-0.05))
    candidate = decision.candidates[2]
    assert candidate.estimates.quality.mean == 0.9
    assert candidate.estimates.cost_usd_worst == 0.0
    assert candidate.terms == {"quality": 0.9, "null": -0.05}
    assert rule_of(decision, "good") is Rule.OUTSCORED


def test_caps_hold_for_it_too(router: TwoStageRouter) -> None:
    offers = Offers({"memory": Offer(0.9, "seen")})
    assert rule_of(decide(router, offers, budget=Budget(min_quality=0.95)), "memory") == "min_quality"
    tools = frozenset({Capability.TOOLS})
    assert rule_of(decide(router, offers, required=tools), "memory") is Rule.CAPABILITY
    assert rule_of(decide(router, offers, allowed=frozenset({"good"})), "memory") is Rule.NOT_ALLOWED
    assert decide(router, offers, budget=Budget(max_cost_usd=0.0)).expert == "memory"


def test_an_uncertain_prompt_does_not_pass_it_over_nor_make_it_a_generalist(router: TwoStageRouter) -> None:
    offers = Offers({"memory": Offer(0.5, "seen")})
    assert decide(router, offers, uncertain=True).expert == "good", "no generalist here: by utility"
    view = PoolView.of(spec("good"), spec("general", generalist=True), NULL)
    asked = replace(request(), offers=Offers({"memory": Offer(0.6, "seen")}))
    chosen = router.select(assessment({"good": 0.7, "general": 0.4}, uncertain=True), asked, view)
    assert (chosen.expert, chosen.fallbacks) == ("memory", ("general", "good"))


def test_what_is_blocked_nobody_else_answers(router: TwoStageRouter) -> None:
    offers = Offers({"memory": Offer(1.0, "about weapons")}, bonus=-1e6, blocked_by="memory")
    for changes in ({}, {"allowed": frozenset({"good"})}, {"required": frozenset({Capability.TOOLS})}):
        decision = decide(router, offers, **changes)
        assert (decision.expert, decision.fallbacks, decision.reason) == ("memory", (), Reason.BLOCKED)
        assert {rule_of(decision, "good"), rule_of(decision, "poor")} == {Rule.BLOCKED}
        assert "about weapons" in decision.rejections[0].detail
