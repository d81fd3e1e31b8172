"""The share of the traffic that asking again may be."""

from __future__ import annotations

import pytest

from pointsman.gateway.dispatch.retry_budget import RetryBudget


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def extra_calls(allowance: RetryBudget, clock: Clock, seconds: int, per_s: int) -> int:
    """Every request fails and would be asked again."""
    made = 0
    for _ in range(seconds * per_s):
        clock.now_s += 1 / per_s
        allowance.request()
        if not allowance.spent:
            allowance.take()
            made += 1
    return made


@pytest.mark.parametrize("per_s", [10, 100, 1000])
def test_a_storm_of_failures_may_only_add_its_share(per_s: int) -> None:
    clock = Clock()
    allowance = RetryBudget(share=0.2, least_per_s=1.0, clock=clock)
    extra_calls(allowance, clock, 60, per_s)
    assert extra_calls(allowance, clock, 60, per_s) == pytest.approx(60 * (1.0 + 0.2 * per_s), rel=0.03)


def test_a_few_failures_in_much_traffic_are_always_asked_again() -> None:
    clock = Clock()
    allowance = RetryBudget(share=0.2, least_per_s=0.0, clock=clock)
    extra_calls(allowance, clock, 20, 100)
    for request in range(10_000):
        clock.now_s += 0.01
        allowance.request()
        if request % 10 == 9 and request > 2_000:
            assert not allowance.spent
            allowance.take()


def test_what_calm_hours_deposit_is_not_kept() -> None:
    clock = Clock()
    allowance = RetryBudget(share=0.2, least_per_s=1.0, clock=clock)
    for _ in range(100_000):
        allowance.request()
    clock.now_s = 3_600.0
    made = 0
    while not allowance.spent:
        allowance.take()
        made += 1
    # 28 requests a second deposited a fifth of a call each, of which ten seconds' worth is left.
    assert made == pytest.approx(10 * (1.0 + 0.2 * 100_000 / 3_600), abs=2)
