"""Prices that hold averages: hand-worked steps, convergence against a small economy, replicas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.selection.price_controller import PriceController
from pointsman.routers.selection.prices import (
    AverageBudget,
    Gains,
    PriceState,
    Spending,
    averages,
    correction,
    in_step,
    prices,
    updated,
)
from pointsman.routers.types import Prices

BUDGET = AverageBudget(window_s=600.0, max_energy_j=100.0)


def test_nothing_is_priced_without_a_budget_or_below_it() -> None:
    state = updated(PriceState(), AverageBudget(), Spending.of(1.0, 1e9), 1.0)
    assert prices(state, AverageBudget()) == Prices()
    state = PriceState()
    for _ in range(100):
        state = updated(state, BUDGET, Spending.of(None, 99.0), 1.0)
    assert prices(state, BUDGET) == Prices()
    assert averages(state, BUDGET)[1] == pytest.approx(99.0)


def test_one_step_by_hand() -> None:
    # One request of 300 J where 100 are allowed: over by 2 budgets, in a window that has seen just this one.
    gains = Gains(per_window=45.0, most_per_request=0.03, max_debt=0.5, scale=0.02)
    state = updated(PriceState(), BUDGET, Spending.of(None, 300.0), 300.0, gains)
    # Half a window old: filled to 1 - 1/e; its recent tenth to 1 - e^-10. No rate above one a window: k/N is bounded.
    level = 0.03 * (2.0 + 1.0 * 0.5)
    assert state.levels == (0.0, pytest.approx(level), 0.0)
    assert prices(state, BUDGET, gains).per_j == pytest.approx(0.02 * math.expm1(level) / 100.0)


def test_unknown_amounts_are_left_out_and_never_free() -> None:
    assert Spending.of(None, 5.0) == Spending(metered=1.0, energy_j=5.0)
    assert math.isnan(Spending().means[0])
    foreseen = Spending.of(0.5, 5.0)
    assert correction(foreseen, None, 7.0) == Spending(energy_j=2.0)
    assert foreseen + correction(foreseen, 0.25, None) == Spending.of(0.25, 5.0)
    assert correction(Spending(), 0.5, None) == Spending.of(0.5, None)


class _Economy:
    """Requests of random worth: the good expert takes 200 J, the other 50 J; a price decides who is worth it."""

    def __init__(self, seed: int, factor: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.factor = factor

    def spend(self, price: float) -> tuple[float, float]:
        """Foreseen and true joules of the next request."""
        size = float(self.rng.lognormal(0.0, 0.7))
        worth = float(self.rng.normal(0.1, 0.1))
        joules = size * (200.0 if worth > price * size * 150.0 else 50.0)
        return joules, joules * self.factor * float(self.rng.lognormal(0.0, 0.2))


@pytest.mark.parametrize("factor", [1.0, 1.4, 0.7])
@pytest.mark.parametrize("rate", [2.0, 20.0])
def test_the_average_is_held_though_estimates_are_wrong(rate: float, factor: float) -> None:
    economy, controller, now_s = _Economy(0, factor), PriceController(BUDGET, 0.0), 0.0
    spent: list[tuple[float, float]] = []
    while now_s < 3600.0:
        now_s += 1.0 / rate
        foreseen, true = economy.spend(controller.prices(now_s).per_j)
        controller.spent(Spending.of(None, foreseen))
        controller.settled(correction(Spending.of(None, foreseen), None, true), now_s)
        spent.append((now_s, true))
    joules = np.array([amount for moment, amount in spent if moment > 600.0])
    assert joules.mean() == pytest.approx(100.0, rel=0.02)
    assert controller.averages[1] == pytest.approx(100.0, rel=0.05)


def test_p95_is_held_as_a_share_of_late_answers() -> None:
    budget = AverageBudget(window_s=600.0, p95_ttft_ms=800.0)
    rng, controller, now_s, late = np.random.default_rng(1), PriceController(budget, 0.0), 0.0, []
    while now_s < 3600.0:
        now_s += 0.1
        # A fast expert that is never late, and a slow one that is in 20 % of its answers.
        slow = rng.normal(0.1, 0.1) > controller.prices(now_s).per_ttft_ms * 400.0
        ttft_ms = 900.0 if slow and rng.random() < 0.2 else 300.0
        controller.spent(Spending.first_token(ttft_ms, budget))
        if now_s > 600.0:
            late.append(ttft_ms > 800.0)
    assert np.mean(late) == pytest.approx(0.05, abs=0.003)


def test_a_price_comes_down_again_after_a_budget_nobody_could_meet() -> None:
    state = PriceState()
    for _ in range(2000):
        state = updated(state, BUDGET, Spending.of(None, 500.0), 1.0)
    assert state.levels[1] == Gains().max_level
    waited = 0
    while state.levels[1] > 0.0:
        state = updated(state, BUDGET, Spending.of(None, 20.0), 1.0)
        waited += 1
        assert waited < 2 * BUDGET.window_s, "the bound keeps it from winding up"


_AMOUNTS = st.floats(-1e3, 1e4, allow_nan=False)


@given(st.lists(st.tuples(_AMOUNTS, _AMOUNTS, st.floats(0.0, 1e4)), max_size=30))
def test_levels_stay_within_their_bounds_whatever_is_reported(reports: list[tuple[float, float, float]]) -> None:
    budget, state = AverageBudget(600.0, 1.0, 1.0, 1.0), PriceState()
    for count, amount, elapsed_s in reports:
        spending = Spending(count, amount, count, amount, count, amount)
        state = updated(state, budget, spending, elapsed_s)
        assert all(0.0 <= level <= Gains().max_level for level in state.levels)
        assert all(math.isfinite(price) for price in (prices(state, budget).per_usd, prices(state, budget).per_j))


def test_replicas_together_hold_what_each_sees_only_part_of() -> None:
    economies = [_Economy(seed) for seed in range(3)]
    controllers = {str(seed): PriceController(BUDGET, 0.0) for seed in range(3)}
    joules: list[float] = []
    for tick in range(1, 36_001):
        now_s = tick * 0.1
        who = tick % 7 % 3
        controller = controllers[str(who)]
        foreseen, true = economies[who].spend(controller.prices(now_s).per_j)
        controller.spent(Spending.of(None, foreseen))
        controller.settled(correction(Spending.of(None, foreseen), None, true), now_s)
        if now_s > 600.0:
            joules.append(true)
        if tick % 10 == 0:
            reports = {name: one.report() for name, one in controllers.items()}
            for name, one in controllers.items():
                one.heard({peer: report for peer, report in reports.items() if peer != name}, now_s)
    assert np.mean(joules) == pytest.approx(100.0, rel=0.02)
    levels = [one.state.levels[1] for one in controllers.values()]
    assert max(levels) - min(levels) < 0.3
    # Each knows of the traffic of all: ten requests a second, in a window that forgets with half its length.
    assert all(one.state.counted[1] == pytest.approx(3000.0, rel=0.1) for one in controllers.values())


def test_a_report_that_comes_twice_counts_once_and_one_out_of_earshot_not_at_all() -> None:
    controller, other = PriceController(BUDGET, 0.0), PriceController(BUDGET, 0.0)
    controller.heard({"other": other.report()}, 0.0)
    other.spent(Spending.of(None, 100.0))
    for _ in range(3):
        controller.heard({"other": other.report()}, 1.0)
    controller.prices(2.0)
    assert controller.state.counted[1] == pytest.approx(1.0)
    for _ in range(50):
        other.spent(Spending.of(None, 100.0))
    assert controller.heard({"other": other.report()}, 200.0) == frozenset()
    controller.prices(200.0)
    assert controller.state.counted[1] < 1.0, "what was spent out of earshot is not made up for"
    assert controller.heard({"other": other.report()}, 1000.0) == {"other"}


def test_a_replica_that_joins_takes_over_the_prices_it_finds() -> None:
    old, new = PriceController(BUDGET, 0.0), PriceController(BUDGET, 500.0)
    for second in range(1, 500):
        old.spent(Spending.of(None, 150.0))
        old.prices(float(second))
    assert old.state.levels[1] > 0.5
    new.heard({"old": old.report()}, 501.0)
    assert new.state.levels == old.state.levels


def test_a_replica_without_traffic_has_no_say_in_the_prices_of_the_others() -> None:
    busy, idle = PriceController(BUDGET, 0.0), PriceController(BUDGET, 0.0)
    for second in range(500):
        busy.prices(float(second))
        busy.spent(Spending.of(None, 300.0))
    before = busy.state.levels
    for second in range(500, 510):
        busy.heard({"idle": idle.report()}, float(second))
        idle.heard({"busy": busy.report()}, float(second))
    assert busy.state.levels == before
    assert idle.state.levels == before


def test_in_step_is_the_mean() -> None:
    state = in_step(replace(PriceState(), age_s=7.0), [(0.0, 1.0, 4.0), (2.0, 3.0, 0.0)])
    assert state.levels == (1.0, 2.0, 2.0)
    assert state.age_s == 7.0
