"""What an expert's reports make of the estimate of a prompt's tokens."""

import random

import pytest

from pointsman.experts.backends.fake import FakeExpert
from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import AS_ESTIMATED, ExpertState, TokenFactors, Usage
from pointsman.experts.token_counts import TokenCountModel
from pointsman.routers.types import Rule
from tests.unit.routers.pools import assessment, figures_of, request, spec
from tests.unit.routers.test_two_stage_select import make_router


def test_before_anything_was_counted_the_estimate_holds():
    model = TokenCountModel()
    model.see(10, 30)
    model.see(1000, 0)
    model.see(1000, 2**60)
    assert model.factors == AS_ESTIMATED, "short prompts and nonsense say nothing"


def test_the_factors_follow_the_reports():
    model, chance = TokenCountModel(), random.Random(0)
    for _ in range(600):
        model.see(1000, int(1000 * chance.uniform(1.2, 1.4)))
    assert model.factors.typical == pytest.approx(1.3, abs=0.02)
    assert model.factors.worst == pytest.approx(1.39, abs=0.05)
    for _ in range(2000):
        model.see(1000, 900)
    assert model.factors.typical == pytest.approx(0.9, abs=0.02)
    assert model.factors.worst < 1.0


def test_a_prompt_that_fits_by_its_estimate_alone_goes_to_the_larger_window():
    """By the reports of the small expert such a prompt has a third more tokens than were estimated."""
    pool = ExpertPool(
        [FakeExpert(spec("small", context_window_tokens=4096)), FakeExpert(spec("wide", context_window_tokens=32768))],
        lambda: 0.0,
    )
    asked, long_prompt = assessment({"small": 0.9, "wide": 0.5}), request(prompt_tokens=3500)
    router = make_router()
    assert router.select(asked, long_prompt, pool.snapshot()).expert == "small"
    for _ in range(30):
        with pool.begin("small", stream=False, prompt_tokens=1000) as flight:
            flight.finish(Usage(1330, 10))
    decision = router.select(asked, long_prompt, pool.snapshot())
    assert decision.expert == "wide"
    assert {one.expert: one.rule for one in decision.rejections} == {"small": Rule.CONTEXT_WINDOW}
    assert router.select(asked, request(prompt_tokens=2500), pool.snapshot()).expert == "small"


def test_cost_and_energy_count_the_tokens_that_the_expert_will_find():
    counted, asked = ExpertState(tokens=TokenFactors(1.5, 2.0)), request(prompt_tokens=1000)
    found = figures_of((spec("a"), counted), asked=asked).estimates(0)
    plain = figures_of((spec("a"), ExpertState()), asked=asked).estimates(0)
    assert found.cost_usd - plain.cost_usd == pytest.approx(500 * 1.0 / 1e6)
    assert found.cost_usd_worst - plain.cost_usd_worst == pytest.approx(1000 * 1.0 / 1e6)
    assert found.energy_j_worst - plain.energy_j_worst == pytest.approx(1000 * 0.01)
