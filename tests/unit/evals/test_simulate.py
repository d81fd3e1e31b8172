"""The simulator: what it is told to happen does, decisions are `select`'s own, and budgets are held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pointsman.evals.errors import EvalError
from pointsman.evals.metrics.budgets import sliding_means
from pointsman.evals.plan_pool import read_pool
from pointsman.evals.simulate import DEFAULT_POOL
from pointsman.evals.simulate.engine import Setup, simulate
from pointsman.evals.simulate.hindsight import best_fixed_prices, open_ledger
from pointsman.evals.simulate.machines import Machines
from pointsman.evals.simulate.report import kept_budgets
from pointsman.evals.simulate.scenarios import (
    Arrivals,
    Burst,
    Drift,
    Outage,
    Scenario,
    Span,
    parse_burst,
    parse_drift,
    parse_outage,
    parse_span,
    traffic,
)
from pointsman.evals.simulate.world import World, make_world
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import EnergyModel, ExpertSpec, LatencyModel, PoolView, Price
from pointsman.routers.selection.prices import AverageBudget
from pointsman.routers.two_stage import TwoStageRouter
from pointsman.routers.types import Budget, Prices, RouteRequest

QUIET = Scenario("quiet")


def expert(name: str, dearness: float, **changes: object) -> ExpertSpec:
    return ExpertSpec(
        name,
        "plan",
        name,
        price=Price(dearness, 2 * dearness),
        latency=LatencyModel(100.0, 0.5, 5.0),
        energy=EnergyModel(0.0, 0.05 * dearness, 0.5 * dearness),
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture
def world(table: OutcomeTable, small_router: Callable[..., TwoStageRouter]) -> World:
    """Three experts, each the best on its own subject; the lawyer is dear."""
    pool = (expert("coder", 2.0), expert("lawyer", 10.0), expert("reckoner", 1.0), expert("stranger", 1.0))
    return make_world(table.split("test"), pool, small_router(table))


def arrivals(seconds: float, per_s: float, seed: int = 0) -> Arrivals:
    rng = np.random.default_rng(seed)
    at_s = np.sort(rng.uniform(0.0, seconds, round(seconds * per_s)))
    return Arrivals(at_s, rng.integers(50, 400, len(at_s)))


def test_the_pool_leaves_out_experts_that_are_not_in_the_table(world: World) -> None:
    assert [spec.name for spec in world.pool] == ["coder", "lawyer", "reckoner"]


def test_same_seed_same_run_and_every_answer_is_the_table_s(world: World) -> None:
    asked = traffic(arrivals(60.0, 5.0), world.categories, QUIET, seed=3)
    first, again = (simulate(world, QUIET, asked, Setup(AverageBudget()), seed=4) for _ in range(2))
    assert np.array_equal(first.ttft_ms, again.ttft_ms)
    rows = np.arange(len(asked.rows))
    assert (first.expert >= 0).all()
    assert np.array_equal(first.score, world.scores[asked.rows, first.expert])
    tokens = world.answer_tokens[asked.rows, first.expert]
    prices = np.array([spec.price.input_usd_per_mtok for spec in world.pool if spec.price])[first.expert]
    assert first.cost_usd == pytest.approx(prices * (asked.arrivals.prompt_tokens[rows] + 2 * tokens) / 1e6)


def test_averages_are_held_and_cost_little_against_hindsight(world: World) -> None:
    budget = AverageBudget(window_s=120.0, max_energy_j=120.0)
    asked = traffic(arrivals(900.0, 10.0), world.categories, QUIET, seed=0)
    free = simulate(world, QUIET, asked, Setup(AverageBudget()))
    assert free.energy_j.mean() > 150.0, "the budget binds"
    run = simulate(world, QUIET, asked, Setup(budget, replicas=3))
    kept = kept_budgets(run, budget, warm_up_s=120.0)["energy_j"]
    assert kept.mean == pytest.approx(120.0, rel=0.02)
    assert kept.highest < 120.0 * 1.08
    ledger = open_ledger(world, QUIET, asked, from_s=120.0)
    best, _, joules = ledger.means(best_fixed_prices(ledger, budget))
    assert joules == pytest.approx(120.0, rel=0.01)
    assert run.score[run.at_s >= 120.0].mean() > 0.97 * best


def test_hindsight_s_arrays_choose_as_select_does(world: World) -> None:
    asked = traffic(arrivals(30.0, 5.0), world.categories, QUIET, seed=1)
    ledger = open_ledger(world, QUIET, asked)
    view = PoolView.of(*world.pool)
    for prices in (Prices(), Prices(per_usd=50.0), Prices(per_j=0.002), Prices(per_usd=20.0, per_j=0.001)):
        picks = ledger.picks(prices)
        for i, row in enumerate(asked.rows.tolist()):
            request = RouteRequest(
                "", world.prompts[row], int(asked.arrivals.prompt_tokens[i]), budget=Budget(prices=prices)
            )
            decision = world.router.select(world.assessments[row], request, view)
            assert decision.expert == world.pool[picks[i]].name


def test_a_failing_expert_is_left_and_found_again(world: World) -> None:
    outage = Scenario("outage", outage=Outage("reckoner", Span(100.0, 200.0)))
    asked = traffic(arrivals(400.0, 5.0), world.categories, outage, seed=0)
    run = simulate(world, outage, asked, Setup(AverageBudget()))
    during = Span(100.0, 200.0).holds(run.at_s)
    column = [spec.name for spec in world.pool].index("reckoner")
    assert (run.expert >= 0).all(), "a fallback answers"
    assert not (run.expert[during] == column).any()
    assert (run.expert[run.at_s < 100.0] == column).any()
    # The circuit tries again after half a minute at the latest.
    assert (run.expert[run.at_s > 240.0] == column).any()


def test_a_full_pool_refuses(world: World) -> None:
    tight = World(
        tuple(expert(spec.name, 1.0, max_concurrency=1) for spec in world.pool),
        world.router,
        world.prompts,
        world.categories,
        world.assessments,
        world.scores,
        world.answer_tokens,
        world.table,
    )
    asked = traffic(arrivals(60.0, 50.0), world.categories, QUIET, seed=0)
    run = simulate(tight, QUIET, asked, Setup(AverageBudget(), replicas=1))
    refused = run.expert < 0
    assert 0.1 < refused.mean() < 1.0
    assert np.isnan(run.cost_usd[refused]).all()


def test_a_burst_multiplies_and_a_drift_shifts() -> None:
    came = arrivals(300.0, 4.0)
    categories = ["code"] * 50 + ["law"] * 50
    span = Span(100.0, 150.0)
    burst = traffic(came, categories, Scenario("burst", burst=Burst(span, 10)), seed=0)
    assert len(burst.rows) == len(came) + 9 * span.holds(came.at_s).sum()
    assert (np.diff(burst.arrivals.at_s) >= 0).all()
    drift = traffic(came, categories, Scenario("drift", drift=Drift(200.0, ("law",), share=0.9)), seed=0)
    law = drift.rows >= 50
    assert law[came.at_s < 200.0].mean() == pytest.approx(0.5, abs=0.06)
    assert law[came.at_s >= 200.0].mean() == pytest.approx(0.95, abs=0.04)
    with pytest.raises(EvalError, match="poetry"):
        traffic(came, categories, Scenario("drift", drift=Drift(0.0, ("poetry",))), seed=0)


def test_prompts_queue_on_a_machine_and_answers_share_it() -> None:
    one = Machines(expert("e", 1.0, max_concurrency=64), seed=0)
    first, second = one.call(0.0, 1000, 100.0), one.call(0.0, 1000, 100.0)
    # Half a second of reading each, one after the other.
    assert second.first_token_s - first.first_token_s == pytest.approx(0.5, abs=0.15)
    two = Machines(expert("e", 1.0, max_concurrency=128), seed=0)
    assert [two.call(0.0, 1000, 0.0).first_token_s < 0.75 for _ in range(4)] == [True, True, False, False]
    crowd = Machines(expert("e", 1.0, max_concurrency=64), seed=0)
    for _ in range(63):
        crowd.call(0.0, 0, 100.0)
    slow, alone = crowd.call(0.0, 0, 100.0), Machines(expert("e", 1.0), seed=0).call(0.0, 0, 100.0)
    assert slow.last_token_s - slow.first_token_s > 1.1 * (alone.last_token_s - alone.first_token_s)


def test_sliding_means_by_hand() -> None:
    at_s, spent = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, np.nan, 3.0, 8.0])
    # (0, 2], (2, 4], (10, 12]
    assert sliding_means(at_s, spent, 2.0, np.array([2.0, 4.0])).tolist() == [1.0, 5.5]
    assert np.isnan(sliding_means(at_s, spent, 2.0, np.array([12.0]))[0])


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_span, "5"),
        (parse_span, "9-3"),
        (parse_outage, "10-20"),
        (parse_burst, "x:1-2"),
        (parse_burst, "0:1-2"),
        (parse_drift, "10:"),
        (parse_drift, "law"),
    ],
)
def test_what_cannot_happen_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(EvalError, match=r"say|end"):
        parse(text)


def test_scenarios_read_as_written() -> None:
    assert parse_outage("a:b:10-20.5") == Outage("a:b", Span(10.0, 20.5))
    assert parse_burst("10:1800-1980") == Burst(Span(1800.0, 1980.0), 10)
    assert parse_drift("60:law, math") == Drift(60.0, ("law", "math"))


def test_the_shipped_pool_reads() -> None:
    pool = read_pool(DEFAULT_POOL)
    assert len(pool) == 7
    assert all(spec.price and spec.energy and spec.latency for spec in pool)


def test_a_pool_without_known_experts_is_refused(
    table: OutcomeTable, small_router: Callable[..., TwoStageRouter], tmp_path: Path
) -> None:
    with pytest.raises(EvalError, match="fewer than two experts"):
        make_world(table, (expert("stranger", 1.0),), small_router(table))
