"""A router over a table: the sweep must equal asking `select` for every prompt and weight."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pointsman.evals.baselines import best_single, zero_router
from pointsman.evals.evaluate import evaluate
from pointsman.evals.policies import COST_WEIGHTS, make_trial
from pointsman.evals.replay import expert_specs, replay, requests, sweep_cost
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import PoolView
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Assessment, Budget, Decision, RouteRequest, Weights

MakeRouter = Callable[..., TwoStageRouter]


def _direct(router: TwoStageRouter, table: OutcomeTable, view: PoolView, weights: list[float]) -> np.ndarray:
    column = {name: j for j, name in enumerate(table.experts)}
    asked = [
        [replace(request, budget=Budget(weights=Weights(cost=weight))) for request in requests(table)]
        for weight in weights
    ]
    return np.array([[column[router.decide(one, view).expert or ""] for one in line] for line in asked])


def test_the_sweep_equals_select(table: OutcomeTable, small_router: MakeRouter) -> None:
    trial, router = make_trial(table), small_router(table)
    view = expert_specs(trial)
    done = replay(router, trial, view, "small")
    assert done.swept
    assert done.policy.curve is not None
    direct = _direct(router, trial.test, view, list(COST_WEIGHTS))
    assert (done.policy.curve.choices == direct).all()
    assert (done.policy.mix.argmax(axis=1) == direct[0]).all()
    assert len({tuple(line) for line in direct.tolist()}) > 5, "the weights must matter for this to be a test"


def test_the_sweep_equals_select_where_uncertain_prompts_go_to_a_generalist(
    table: OutcomeTable, small_router: MakeRouter
) -> None:
    trial, router = make_trial(table), small_router(table, max_entropy=0.35)
    view = expert_specs(trial, generalists=("lawyer",))
    done = replay(router, trial, view, "small")
    uncertain = np.array([one.classification.uncertain for one in done.assessments])
    assert 0 < uncertain.sum() < len(uncertain)
    assert done.policy.curve is not None
    assert (done.policy.curve.choices == _direct(router, trial.test, view, list(COST_WEIGHTS))).all()


def test_equal_predictions_fall_to_the_cheaper_as_in_select(table: OutcomeTable, small_router: MakeRouter) -> None:
    trial = make_trial(table)
    flat = replace(table, scores=np.ones_like(table.scores))
    router = small_router(flat)
    view = expert_specs(trial)
    done = replay(router, trial, view, "flat")
    assert (done.policy.mix.argmax(axis=1) == _direct(router, trial.test, view, [0.0])[0]).all()
    assert done.policy.curve is not None
    assert (done.policy.curve.choices == _direct(router, trial.test, view, list(COST_WEIGHTS))).all()


class Contrarian(TwoStageRouter):
    """A router whose utility is not linear in the weight: above 1 it takes the runner-up."""

    def select(self, assessment: Assessment, request: RouteRequest, view: PoolView) -> Decision:
        decision = super().select(assessment, request, view)
        if request.budget.weights.cost <= 1 or not decision.fallbacks:
            return decision
        return replace(decision, expert=decision.fallbacks[0])


def test_a_router_that_is_not_linear_is_asked_directly(table: OutcomeTable, small_router: MakeRouter) -> None:
    trial = make_trial(table)
    router = small_router(table)
    router.__class__ = Contrarian
    view = expert_specs(trial)
    column = {name: j for j, name in enumerate(table.experts)}
    asked = requests(trial.test)
    weights = [0.0, 0.5, 2.0]
    curve, held = sweep_cost(router, [router.assess(one) for one in asked], asked, view, column, weights)
    assert not held
    assert (curve.choices == _direct(router, trial.test, view, weights)).all()


def test_specs_carry_prices_that_explain_the_costs(table: OutcomeTable) -> None:
    specs = {spec.name: spec for spec, _ in expert_specs(make_trial(table), ("coder",)).entries}
    price = specs["lawyer"].price
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == pytest.approx((5, 10), rel=0.02)
    assert specs["coder"].generalist
    assert not specs["lawyer"].generalist


def test_routing_pays_on_a_table_where_it_must(table: OutcomeTable, small_router: MakeRouter) -> None:
    trial = make_trial(table)
    done = replay(small_router(table), trial, expert_specs(trial), "small")
    rows = evaluate(trial, [done.policy, best_single(trial), zero_router(trial)], 200, 0).rows
    router = rows[0]
    assert router.intervals["quality_minus_best_single"][0] > 0.1
    assert router.intervals["aiq_minus_zero_router"][0] > 0
    median, slowest = router.metrics["latency_p50_ms"], router.metrics["latency_p99_ms"]
    assert median is not None
    assert slowest is not None
    assert 0 < median <= slowest
    assert done.known == frozenset(table.experts)
    assert not done.absent


def test_a_router_of_another_pool_is_recognised(table: OutcomeTable, small_router: MakeRouter) -> None:
    router = small_router(replace(table, experts=("x", "y", "z")))
    trial = make_trial(table)
    done = replay(router, trial, expert_specs(trial), "other")
    assert done.known == frozenset()
    assert done.absent == {"x", "y", "z"}


def test_two_experts_get_a_deferral_score(table: OutcomeTable, small_router: MakeRouter) -> None:
    pair = table.pool(["coder", "lawyer"])
    trial = make_trial(pair)
    done = replay(small_router(pair), trial, expert_specs(trial), "pair")
    rows = evaluate(trial, [done.policy, best_single(trial)], 50, 0).rows
    assert rows[0].metrics["apgr"] is not None
    assert rows[0].metrics["apgr"] > 0.6
    assert rows[0].intervals.get("apgr") is not None
    assert rows[0].metrics["cpt50"] is not None
    assert rows[1].metrics["apgr"] is None


def test_request_lengths_come_from_the_table_or_are_estimated(table: OutcomeTable) -> None:
    assert [one.prompt_tokens for one in requests(table)[:3]] == table.prompt_tokens[:3, 0].tolist()
    bare = replace(table, prompt_tokens=np.full(table.scores.shape, np.nan))
    assert requests(bare)[0].prompt_tokens == len(table.prompts[0]) // 4
