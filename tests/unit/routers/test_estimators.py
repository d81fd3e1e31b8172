"""Estimates of one call: hand-worked figures, and unknown stays unknown."""

import pytest

from pointsman.experts.spec import EnergyModel, ExpertSpec, ExpertState, LatencyModel, Price, Source, Speed
from pointsman.routers.estimators.prior import quality_from_size, quality_prior
from pointsman.routers.estimators.tokens import UNKNOWN_COMPLETION_TOKENS
from pointsman.routers.types import Classification, Work
from tests.unit.routers.pools import assessment, figures_of, is_nan, request, spec

IDLE = ExpertState()
LENGTHS = assessment({}, a=(50.0, 80.0))


def estimates_of(expert: ExpertSpec, state: ExpertState = IDLE, *, prompt: int = 100, **lengths: tuple[float, float]):
    """Estimates of one call whose answer has the given lengths."""
    return figures_of((expert, state), asked=request(prompt_tokens=prompt), given=assessment({}, **lengths)).estimates(
        0
    )


def test_an_unloaded_expert_follows_its_linear_model():
    expert = spec("a", latency=LatencyModel(100.0, 0.5, 10.0, p95_factor=2.0, source=Source.MEASURED))
    found = estimates_of(expert, prompt=200, a=(50.0, 80.0))
    assert (found.ttft_ms, found.ttft_ms_worst) == (200.0, 400.0)
    assert (found.latency_ms, found.latency_ms_worst) == (200.0 + 500.0, 400.0 + 80 * 20.0)
    assert found.latency_source is Source.MEASURED


def test_load_slows_a_model_but_not_what_was_observed():
    expert = spec("a", max_concurrency=10, latency=LatencyModel(100.0, 0.0, 10.0))
    busy = estimates_of(expert, ExpertState(in_flight=5), a=(10.0, 40.0))
    assert (busy.ttft_ms, busy.ttft_ms_worst, busy.latency_ms) == (150.0, 225.0, 300.0)
    seen = estimates_of(expert, ExpertState(in_flight=5, speed=Speed(70.0, 0.1, 4.0, 2.0, 3.0)), a=(10.0, 40.0))
    assert (seen.ttft_ms, seen.latency_ms) == (80.0, 120.0)
    assert (seen.ttft_ms_worst, seen.latency_ms_worst) == (160.0, 160.0 + 40 * 12.0)
    assert seen.latency_source is Source.MEASURED


def test_a_long_prompt_pays_its_prefill_as_it_was_seen():
    expert = spec("a", latency=LatencyModel(10.0, 1.0, 1.0))
    seen = ExpertState(speed=Speed(50.0, 2.0, None, 1.5, 1.5))
    assert estimates_of(expert, seen, prompt=4000).ttft_ms == 8050.0


def test_unknown_is_none_and_never_zero():
    bare = spec("a", latency=None, energy=None, price=None)
    estimates = estimates_of(bare)
    assert estimates.latency_ms is None
    assert estimates.ttft_ms is None
    assert estimates.energy_j is None
    assert estimates.cost_usd is None
    assert estimates.latency_source is None
    assert (estimates.completion_tokens, estimates.completion_tokens_worst) == UNKNOWN_COMPLETION_TOKENS


def test_only_the_first_token_may_be_known():
    bare = spec("a", latency=None)
    found = estimates_of(bare, ExpertState(speed=Speed(70.0, 0.0, None, 1.5, 1.5)))
    assert (found.ttft_ms, found.latency_ms, found.latency_source) == (70.0, None, Source.MEASURED)


def test_the_callers_limit_and_the_window_bound_the_answer():
    expert = spec("a", context_window_tokens=300, price=Price(1e6, 1e6), energy=EnergyModel(0.0, 0.0, 1.0))
    known = assessment({"a": 0.5}, a=(150.0, 900.0))
    by_window = figures_of((expert, IDLE), given=known).estimates(0)
    assert (by_window.completion_tokens, by_window.completion_tokens_worst) == (150.0, 200)
    by_caller = figures_of((expert, IDLE), asked=request(max_completion_tokens=20), given=known).estimates(0)
    assert (by_caller.energy_j, by_caller.energy_j_worst) == (20, 20)
    assert by_caller.cost_usd == pytest.approx(120.0)


def test_a_cache_and_reasoning_are_not_expected_and_the_worst_case_takes_the_dearest_price():
    prices = Price(1e6, 2e6, cached_input_usd_per_mtok=1e5, cache_write_usd_per_mtok=1.25e6, reasoning_usd_per_mtok=3e6)
    known = assessment({"a": 0.5}, a=(10.0, 40.0))
    found = figures_of((spec("a", price=prices), IDLE), asked=request(), given=known).estimates(0)
    assert found.cost_usd == pytest.approx(100 + 10 * 2)
    assert found.cost_usd_worst == pytest.approx(100 * 1.25 + 40 * 3)
    cheaper = Price(1e6, 2e6, cached_input_usd_per_mtok=1e5, cache_write_usd_per_mtok=0.5e6, reasoning_usd_per_mtok=1.0)
    found = figures_of((spec("a", price=cheaper), IDLE), asked=request(), given=known).estimates(0)
    assert found.cost_usd_worst == pytest.approx(100 + 40 * 2)


def test_a_stated_prior_is_mixed_by_the_posterior():
    certain = Classification({"code": 0.75, "math": 0.25}, "code", 0.5)
    quality = quality_prior(spec("x", quality_prior={"code": 0.8, "*": 0.4}), certain)
    assert quality.mean == pytest.approx(0.75 * 0.8 + 0.25 * 0.4)
    assert quality.source is Source.STATED
    assert is_nan(quality.std)


def test_a_prior_for_other_categories_says_nothing():
    other = Classification({"code": 0.1, "math": 0.9}, "math", 0.3)
    assert quality_prior(spec("x", quality_prior={"code": 0.8}), other).source is Source.ESTIMATED


def test_size_ranks_unknown_experts_and_says_that_it_is_a_guess():
    sizes = [quality_from_size(size) for size in (0.005, 1.0, 8.0, 70.0, 405.0)]
    means = [quality.mean for quality in sizes]
    assert means == sorted(means)
    assert means[2] == pytest.approx(0.44, abs=0.005)
    assert means[3] == pytest.approx(0.63, abs=0.005)
    assert {quality.source for quality in sizes} == {Source.ESTIMATED}
    assert quality_from_size(None).mean == means[2]


def test_several_answers_cost_their_number_and_take_the_time_of_one():
    expert = spec("a", energy=EnergyModel(1.0, 0.01, 0.1), latency=LatencyModel(10.0, 0.0, 1.0), price=Price(1.0, 2.0))
    one, four = (
        figures_of((expert, IDLE), asked=request(prompt_tokens=100, work=Work(answers=answers)), given=LENGTHS)
        for answers in (1, 4)
    )
    assert four.cost_usd.worst[0] * 1e6 == pytest.approx(100 + 4 * 80 * 2)
    assert four.cost_usd.expected[0] * 1e6 == pytest.approx(100 + 4 * 50 * 2)
    assert four.energy_j.worst[0] == pytest.approx(1 + 1 + 4 * 80 * 0.1)
    assert four.latency_ms.worst[0] == one.latency_ms.worst[0]


def test_what_is_no_text_costs_at_worst():
    expert = spec("a", energy=EnergyModel(1.0, 0.01, 0.1), price=Price(1.0, 2.0))
    figures = figures_of((expert, IDLE), asked=request(work=Work(unseen_tokens=1_000)), given=LENGTHS)
    assert figures.cost_usd.worst[0] - figures.cost_usd.expected[0] == pytest.approx((1_000 + 30 * 2) / 1e6)
    assert figures.energy_j.worst[0] - figures.energy_j.expected[0] == pytest.approx(10 + 3)


def test_a_limit_that_only_the_expert_reads_bounds_nothing_here():
    expert = spec("a", default_max_tokens=20)
    by_default = figures_of((expert, IDLE), given=LENGTHS)
    unread = figures_of((expert, IDLE), asked=request(work=Work(unread_limit="max_tokens")), given=LENGTHS)
    assert (by_default.completion_tokens.worst[0], unread.completion_tokens.worst[0]) == (20, 80)


def test_of_several_prompts_the_shortest_leaves_the_most_room():
    expert = spec("a", context_window_tokens=1_000)
    several = Work(answers=2, longest_prompt_tokens=990, shortest_prompt_tokens=5)
    figures = figures_of((expert, IDLE), asked=request(prompt_tokens=995, work=several), given=LENGTHS)
    assert figures.completion_tokens.worst[0] == 80
