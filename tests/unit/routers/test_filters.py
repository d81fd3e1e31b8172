"""Filters: each rule bites, says its figures, and knows whether waiting helps."""

import pytest

from pointsman.experts.spec import Capability, ExpertState, PoolView
from pointsman.routers.selection.filters.chain import filters_for, rules_of
from pointsman.routers.types import Budget, Offer, Offers, Rejection, Rule, Work
from tests.unit.routers.pools import assessment, figures_of, request, spec


def first_rejection(given_request, expert, state=ExpertState()) -> Rejection | None:  # noqa: B008 (frozen)
    figures = figures_of((expert, state), asked=given_request, given=assessment({"a": 0.5}))
    for rule in filters_for(given_request, figures):
        if not rule.passes(figures)[0]:
            return rule.rejection(figures, 0)
    return None


CASES = [
    (request(allowed=frozenset({"b"})), {}, ExpertState(), Rule.NOT_ALLOWED, False),
    (request(required=frozenset({Capability.TOOLS})), {}, ExpertState(), Rule.CAPABILITY, False),
    (request(max_completion_tokens=9000), {}, ExpertState(), Rule.CONTEXT_WINDOW, False),
    (request(Budget(local_only=True)), {}, ExpertState(), Rule.NOT_LOCAL, False),
    (request(Budget(min_quality=0.6)), {}, ExpertState(), "min_quality", False),
    (request(Budget(max_cost_usd=1e-6)), {}, ExpertState(), "max_cost_usd", False),
    (request(Budget(max_cost_usd=1e-6)), {"price": None}, ExpertState(), "cost_unknown", False),
    (request(Budget(max_energy_j=1.0)), {}, ExpertState(), "max_energy_j", False),
    (request(Budget(max_energy_j=1.0)), {"energy": None}, ExpertState(), "energy_unknown", False),
    (request(Budget(max_ttft_ms=10.0)), {}, ExpertState(), "max_ttft_ms", False),
    (request(Budget(max_ttft_ms=200.0)), {}, ExpertState(in_flight=60), "max_ttft_ms", True),
    (request(Budget(max_ttft_ms=10.0)), {"latency": None}, ExpertState(), "latency_unknown", False),
    (request(Budget(max_latency_ms=10.0)), {}, ExpertState(), "max_latency_ms", False),
    (request(Budget(max_latency_ms=10.0)), {"latency": None}, ExpertState(), "latency_unknown", False),
    (request(), {"backend": "null"}, ExpertState(), Rule.NO_ANSWER, False),
    (request(offers=Offers({"b": Offer(1.0, "a blocked topic")}, 0.0, "b")), {}, ExpertState(), Rule.BLOCKED, False),
    (request(), {}, ExpertState(awake=False), Rule.ASLEEP, True),
    (request(), {}, ExpertState(healthy=False), Rule.UNHEALTHY, True),
    (request(), {"max_concurrency": 64}, ExpertState(in_flight=64), Rule.SATURATED, True),
]


@pytest.mark.parametrize(("given_request", "changes", "state", "rule", "transient"), CASES)
def test_each_rule_rejects_with_its_reason(given_request, changes, state, rule, transient):
    rejection = first_rejection(given_request, spec("a", **changes), state)
    assert rejection is not None
    assert (rejection.expert, rejection.rule, rejection.transient) == ("a", rule, transient)
    assert len(rejection.detail) > 10


def test_the_cases_cover_every_rule_of_a_filter():
    assert {str(case[3]) for case in CASES} == {rule.name for rule in rules_of()}


def test_a_lasting_reason_goes_before_a_passing_one():
    sick = ExpertState(healthy=False, awake=False, in_flight=99)
    rejection = first_rejection(request(Budget(max_energy_j=1.0)), spec("a"), sick)
    assert rejection is not None
    assert rejection.rule == "max_energy_j"


def test_an_expert_at_its_caps_passes():
    expert = spec("a")
    estimates = figures_of((expert, ExpertState()), given=assessment({"a": 0.5})).estimates(0)
    exact = Budget(
        max_ttft_ms=estimates.ttft_ms_worst,
        max_latency_ms=estimates.latency_ms_worst,
        max_energy_j=estimates.energy_j_worst,
        max_cost_usd=estimates.cost_usd_worst,
        min_quality=0.5,
    )
    assert first_rejection(request(exact), expert) is None


def test_an_unknown_window_is_no_bar():
    assert first_rejection(request(max_completion_tokens=10**6), spec("a", context_window_tokens=None)) is None


def test_several_prompts_need_the_window_of_the_longest():
    expert = spec("a", context_window_tokens=1_000)
    batch = Work(answers=50, longest_prompt_tokens=900, shortest_prompt_tokens=10)
    assert first_rejection(request(prompt_tokens=20_000, max_completion_tokens=100, work=batch), expert) is None
    refused = first_rejection(request(prompt_tokens=20_000, max_completion_tokens=101, work=batch), expert)
    assert refused is not None
    assert refused.rule is Rule.CONTEXT_WINDOW


def test_a_view_of_specs_is_idle():
    ((_, state),) = PoolView.of(spec("a")).entries
    assert state == ExpertState()
