"""The decision as a whole: its invariants under any pool and any budget, and its words."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.experts.spec import ExpertSpec, ExpertState, PoolView, Price
from pointsman.routers.classifiers.linear import LinearClassifier
from pointsman.routers.classifiers.uncertainty import Thresholds
from pointsman.routers.estimators.quality import BlendedQuality, BlendWeights
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Assessment, Budget, Candidate, Decision, Prices, Reason, Rule, Weights
from tests.unit.routers.pools import assessment, budgets, prices, request, spec, views, weights
from tests.unit.routers.reference import amounts_of, plain_select


class LengthEmbedder:
    """Embeds a text by its length: a real, tiny embedder."""

    dim = 2

    def embed(self, texts):
        lengths = np.array([[len(text) % 7, 1.0] for text in texts], dtype=np.float32)
        return lengths / np.linalg.norm(lengths, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def router() -> TwoStageRouter:
    return make_router()


def make_router(**options: bool) -> TwoStageRouter:
    classifier = LinearClassifier(
        ("code", "math"),
        np.array([[4, 0], [0, 4]], dtype=np.float32),
        np.zeros(2, dtype=np.float32),
        np.array([0, 1]),
        temperature=1.0,
        thresholds=Thresholds(max_entropy=0.6, min_scope=0.0),
    )
    quality = BlendedQuality(("a", "b"), ("code", "math"), np.array([0.4, 0.6], np.float32), BlendWeights())
    return TwoStageRouter(
        id="test/1", artifact_hash="hash", embedder=LengthEmbedder(), classifier=classifier, quality=quality, **options
    )


def admissible(decision: Decision) -> list[Candidate]:
    return [candidate for candidate in decision.candidates if candidate.utility is not None]


@settings(max_examples=60, deadline=None)
@given(views(), budgets, st.booleans(), st.none() | st.integers(1, 4096))
def test_no_decision_breaks_a_cap(pool, budget, uncertain, limit):
    view, qualities = pool
    given_request = request(budget, max_completion_tokens=limit)
    decision = make_router().select(assessment(qualities, uncertain=uncertain), given_request, view)
    answerers = [decision.expert, *decision.fallbacks] if decision.expert else []
    by_name = {candidate.spec.name: candidate for candidate in decision.candidates}
    for name in answerers:
        candidate = by_name[name]
        estimates = candidate.estimates
        assert candidate.state.healthy
        assert candidate.state.awake
        assert candidate.state.in_flight < (candidate.spec.max_concurrency or math.inf)
        for cap, worst in (
            (budget.max_ttft_ms, estimates.ttft_ms_worst),
            (budget.max_latency_ms, estimates.latency_ms_worst),
            (budget.max_energy_j, estimates.energy_j_worst),
            (budget.max_cost_usd, estimates.cost_usd_worst),
        ):
            assert cap is None or (worst is not None and worst <= cap)
        assert budget.min_quality is None or estimates.quality.mean >= budget.min_quality
        assert candidate.spec.local or not budget.local_only
        window = candidate.spec.context_window_tokens
        assert window is None or given_request.prompt_tokens + (limit or 1) <= window
    # Exactly one rejection for everyone who was not chosen, and none for the chosen one.
    losers = [entry[0].name for entry in view.entries if entry[0].name != decision.expert]
    assert [rejection.expert for rejection in decision.rejections] == losers
    assert all(rejection.detail for rejection in decision.rejections)
    assert sorted(answerers) == sorted(candidate.spec.name for candidate in admissible(decision))
    assert (decision.expert is None) == (decision.reason is Reason.INFEASIBLE)
    if uncertain and decision.expert and not budget_prices_decide(budget):
        generalists = {c.spec.name for c in admissible(decision) if c.spec.generalist}
        assert decision.expert in generalists or not generalists


def budget_prices_decide(budget: Budget) -> bool:
    w = budget.weights
    return w.latency + w.energy + w.cost + w.size + w.recency + w.verbosity + w.readability > w.quality


@settings(max_examples=80, deadline=None)
@given(views(), budgets)
def test_deciding_twice_gives_the_same(pool, budget):
    view, qualities = pool
    router = make_router()
    first = router.select(assessment(qualities), request(budget), view)
    second = make_router().select(assessment(qualities), request(budget), view)
    assert first == second
    assert first.rejections == second.rejections
    assert repr(first.candidates) == repr(second.candidates)  # a NaN equals nothing, but reads the same


@settings(max_examples=300, deadline=None)
@given(views(most=8), budgets, st.booleans(), st.none() | st.integers(1, 4096), st.none() | st.just(("e0", "e2", "e3")))
def test_arrays_decide_as_plain_figures_do(pool, budget, uncertain, limit, allowed):
    view, qualities = pool
    given_request = request(
        budget, max_completion_tokens=limit, allowed=None if allowed is None else frozenset(allowed)
    )
    given_assessment = assessment(qualities, uncertain=uncertain, e1=(40.0, 300.0), e2=(500.0, 900.0))
    decision = make_router().select(given_assessment, given_request, view)
    ranked, reason, barred, terms, estimates = plain_select(given_assessment, given_request, view)
    assert [decision.expert, *decision.fallbacks] == (ranked or [None])
    assert decision.reason is reason
    assert decision.explanation.barred == {name: rule for name, (rule, _) in barred.items()}
    for rejection in decision.rejections:
        if rejection.expert in barred:
            assert (rejection.rule, rejection.transient) == barred[rejection.expert]
        else:
            assert rejection.rule in (Rule.OUTSCORED, Rule.NOT_GENERALIST)
    rules = {rejection.expert: rejection.rule for rejection in decision.rejections}
    for candidate, score in zip(decision.candidates, decision.explanation.scores, strict=True):
        name = candidate.spec.name
        quality, amounts = estimates[name]
        # What is told in short is what is told at length.
        assert (score.expert, score.utility, score.rule) == (name, candidate.utility, rules.get(name))
        assert score.quality == pytest.approx(quality.mean, nan_ok=True)
        assert score.learned == quality.learned
        assert repr(candidate.estimates.quality) == repr(quality)
        assert amounts_of(candidate.estimates) == pytest.approx(
            {name: amount for name, amount in amounts.items() if not name.endswith("_idle")}
        )
        assert candidate.terms == pytest.approx(terms.get(name, {}))
        utility = None if name in barred else pytest.approx(sum(terms[name].values()))
        assert candidate.utility == utility


@settings(max_examples=100, deadline=None)
@given(views(), budgets, st.booleans())
def test_what_a_router_remembers_of_a_pool_changes_nothing(pool, budget, uncertain):
    view, qualities = pool
    used = make_router()
    for other in (PoolView(view.entries[1:]), PoolView.of(*(entry[0] for entry in view.entries))):
        used.select(assessment({"e1": 0.3}), request(), other)
    fresh = make_router()
    asked, given_assessment = request(budget), assessment(qualities, uncertain=uncertain)
    decisions = [router.select(given_assessment, asked, view) for router in (used, used, fresh)]
    assert decisions[0] == decisions[1] == decisions[2]
    assert repr(decisions[0].candidates) == repr(decisions[2].candidates)


@settings(max_examples=60, deadline=None)
@given(views(), budgets)
def test_a_cap_refuses_only_when_no_expert_is_within_it(pool, budget):
    """The router's own worst case decides: an expert within every cap is found, and a refusal says what was broken."""
    view, qualities = pool
    decision = make_router().select(assessment(qualities), request(budget), view)
    _, _, barred, _, _ = plain_select(assessment(qualities), request(budget), view)
    assert (decision.expert is None) == (len(barred) == len(view))
    if decision.expert is None:
        assert [rejection.rule for rejection in decision.rejections] == [rule for rule, _ in barred.values()]


@settings(max_examples=80, deadline=None)
@given(views(), budgets)
def test_the_order_of_the_pool_decides_nothing(pool, budget):
    view, qualities = pool
    turned = PoolView(tuple(reversed(view.entries)))
    router = make_router()
    straight = router.select(assessment(qualities), request(budget), view)
    reverse = router.select(assessment(qualities), request(budget), turned)
    assert straight.expert == reverse.expert
    assert straight.fallbacks == reverse.fallbacks


@settings(max_examples=80, deadline=None)
@given(views(), st.integers(0, 5))
def test_removing_an_expert_never_reorders_the_others(pool, index):
    view, qualities = pool
    quality_only = Budget(weights=Weights())
    router = make_router()
    full = router.select(assessment(qualities), request(quality_only), view)
    if not view.entries:
        return
    gone = view.entries[index % len(view.entries)][0].name
    rest = PoolView(tuple(entry for entry in view.entries if entry[0].name != gone))
    restricted = router.select(assessment(qualities), request(quality_only), rest)
    order = [name for name in (full.expert, *full.fallbacks) if name not in (None, gone)]
    assert order == [name for name in (restricted.expert, *restricted.fallbacks) if name is not None]


@settings(max_examples=60, deadline=None)
@given(views(), weights)
def test_a_huge_price_on_size_picks_the_smallest(pool, given_weights):
    view, qualities = pool
    priced = Weights(quality=given_weights.quality, size=1e6)
    asked = request(Budget(weights=replace(priced, quality=min(priced.quality, 1.0))))
    decision = make_router().select(assessment(qualities, uncertain=True), asked, view)
    sizes = [c.spec.params_total_b for c in admissible(decision) if c.spec.params_total_b is not None]
    if sizes:
        chosen = next(c for c in decision.candidates if c.spec.name == decision.expert)
        # An unknown size counts as the largest: it ties where all known ones are equal.
        size = max(sizes) if chosen.spec.params_total_b is None else chosen.spec.params_total_b
        assert size == pytest.approx(min(sizes), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(views(), st.lists(st.floats(0.0, 20.0), min_size=2, max_size=6))
def test_a_higher_price_never_buys_a_dearer_expert(pool, rising):
    view, qualities = pool
    router = make_router()
    costs = []
    for price in sorted(rising):
        budget = Budget(max_cost_usd=1e9, weights=Weights(cost=price))
        decision = router.select(assessment(qualities), request(budget), view)
        if decision.expert is None:
            return
        chosen = next(c for c in decision.candidates if c.spec.name == decision.expert)
        costs.append(chosen.estimates.cost_usd)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(costs))


@settings(max_examples=100, deadline=None)
@given(views(), weights, prices, st.integers(0, 5), st.floats(0.0, 0.3), st.booleans())
def test_an_expert_worse_than_another_changes_nothing(pool, given_weights, given_prices, index, worse_by, uncertain):
    """The added one costs what the other costs and predicts less: it never answers, and the others keep their order."""
    view, qualities = pool
    if not view.entries:
        return
    better, state = view.entries[index % len(view.entries)]
    better_quality = {**qualities, better.name: qualities.get(better.name, 0.5)}
    worse = replace(better, name="zz", generalist=False)
    wider = PoolView((*view.entries, (worse, state)))
    budget = Budget(weights=given_weights, prices=given_prices)
    router = make_router()
    known = assessment({**better_quality, "zz": max(better_quality[better.name] - worse_by, 0.0)}, uncertain=uncertain)
    before = router.select(known, request(budget), view)
    after = router.select(known, request(budget), wider)
    assert after.expert == before.expert
    assert [name for name in after.fallbacks if name != "zz"] == list(before.fallbacks)


def test_a_dear_expert_that_never_answers_can_make_another_look_cheaper(router):
    """What does not hold: shares are of the largest amount, so a new largest amount moves all of them."""
    cheap, dear = spec("cheap", price=Price(1, 1)), spec("dear", price=Price(10, 10))
    known = assessment({"cheap": 0.5, "dear": 0.9, "absurd": 0.1})
    asked = request(Budget(weights=Weights(cost=1.0)))
    assert router.select(known, asked, PoolView.of(cheap, dear)).expert == "cheap"
    absurd = spec("absurd", price=Price(1000, 1000))
    assert router.select(known, asked, PoolView.of(cheap, dear, absurd)).expert == "dear"
    # Prices in natural units, as average budgets use them, are immune.
    priced = request(Budget(prices=Prices(per_usd=200.0)))
    assert router.select(known, priced, PoolView.of(cheap, dear)).expert == "cheap"
    assert router.select(known, priced, PoolView.of(cheap, dear, absurd)).expert == "cheap"


def test_uncertain_prompts_go_to_the_generalist_and_the_rest_stay_fallbacks(router):
    view = PoolView.of(spec("a"), spec("b"), spec("g", generalist=True))
    decision = router.select(assessment({"a": 0.9, "b": 0.8, "g": 0.3}, uncertain=True), request(), view)
    assert (decision.expert, decision.reason) == ("g", Reason.UNCERTAIN)
    assert decision.fallbacks == ("a", "b")
    assert {rejection.rule for rejection in decision.rejections} == {Rule.NOT_GENERALIST}


def test_without_an_admissible_generalist_the_best_answers(router):
    view = PoolView(((spec("a"), ExpertState()), (spec("g", generalist=True), ExpertState(healthy=False))))
    decision = router.select(assessment({"a": 0.9, "g": 0.3}, uncertain=True), request(), view)
    assert (decision.expert, decision.reason) == ("a", Reason.ONLY_CANDIDATE)


def test_the_generalist_rule_can_be_switched_off():
    view = PoolView.of(spec("a"), spec("g", generalist=True))
    off = make_router(uncertain_to_generalist=False)
    assert off.select(assessment({"a": 0.9, "g": 0.3}, uncertain=True), request(), view).expert == "a"


def test_a_refusal_says_whether_waiting_helps(router):
    sick = PoolView(((spec("a"), ExpertState(healthy=False, detail="probe failed")), (spec("b"), ExpertState())))
    refused = router.select(assessment({"a": 0.9, "b": 0.1}), request(Budget(min_quality=0.5)), sick)
    assert refused.expert is None
    assert refused.transient
    dear = router.select(assessment({"a": 0.9, "b": 0.1}), request(Budget(max_cost_usd=1e-9)), sick)
    assert not dear.transient
    assert [rejection.rule for rejection in dear.rejections] == ["max_cost_usd", "max_cost_usd"]


def test_an_empty_pool_is_infeasible(router):
    decision = router.decide(request(), PoolView(()))
    assert (decision.expert, decision.reason, decision.rejections) == (None, Reason.INFEASIBLE, ())


def test_decide_is_select_after_assess(router):
    view = PoolView.of(spec("a"), spec("b"))
    asked = request()
    decided, selected = router.decide(asked, view), router.select(router.assess(asked), asked, view)
    assert decided == selected
    assert repr(decided.candidates) == repr(selected.candidates)


def test_an_outscored_experts_rejection_has_the_figures(router):
    view = PoolView.of(spec("a"), spec("b"))
    decision = router.select(assessment({"a": 0.9, "b": 0.8}), request(), view)
    (rejection,) = decision.rejections
    assert rejection.rule is Rule.OUTSCORED
    assert "0.800" in rejection.detail
    assert "0.900 of a" in rejection.detail


def test_known_as_names_the_expert_in_the_artefact(router):
    known: ExpertSpec = spec("my-llama", known_as="a")
    given: Assessment = assessment({"a": 0.77})
    (candidate,) = router.select(given, request(), PoolView.of(known)).candidates
    assert candidate.estimates.quality.mean == 0.77
