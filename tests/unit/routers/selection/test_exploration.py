"""The account of shadow calls, and what agreement tells."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.spec import ExpertSpec, ExpertState, Source
from pointsman.routers.selection.exploration import ExplorationAccount, ExplorationBudget, quality_by_agreement
from pointsman.routers.types import Candidate, Estimates, Quality

SHARES = st.floats(0.0, 1.0)


def candidate(cost_usd_worst: float | None) -> Candidate:
    unknown = [None] * 6
    estimates = Estimates(Quality(0.5, math.nan, Source.STATED), 1.0, 1.0, *unknown, None, cost_usd_worst)  # type: ignore[arg-type]
    return Candidate(ExpertSpec("one", "fake", "one"), ExpertState(), estimates, 0.5)


@given(SHARES.filter(lambda q: q < 1), SHARES.filter(lambda q: q < 1))
def test_agreement_as_often_as_predicted_moves_nothing(shown: float, shadow: float) -> None:
    agree = shown * shadow
    mean = agree * quality_by_agreement(shown, shadow, agree=True)
    mean += (1 - agree) * quality_by_agreement(shown, shadow, agree=False)
    assert mean == pytest.approx(shadow, abs=1e-6)


@given(SHARES, st.integers(0, 300))
def test_calls_are_never_more_than_their_share(share: float, requests: int) -> None:
    account, calls = ExplorationAccount(ExplorationBudget(share)), 0
    for number in range(1, requests + 1):
        if account.request():
            account.reserve(candidate(None), 0.0)
            calls += 1
        assert calls <= share * number + 1e-6


@given(st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 5), st.booleans()), max_size=40))
def test_no_hour_costs_more_than_allowed(steps: list[tuple[float, float, bool]]) -> None:
    account, now_s, spent = ExplorationAccount(ExplorationBudget(1.0, max_cost_usd=10.0)), 0.0, []
    for pause_s, worst, cheaper in steps:
        now_s += pause_s
        account.request()
        if account.affords(candidate(worst), now_s):
            reserved = account.reserve(candidate(worst), now_s)
            cost = worst / 2 if cheaper else worst
            account.settle(reserved, cost, None)
            spent.append((now_s, cost))
        assert sum(cost for at_s, cost in spent if at_s > now_s - 3600) <= 10.0 + 1e-9


def test_what_is_not_known_is_not_afforded() -> None:
    account = ExplorationAccount(ExplorationBudget(1.0, max_cost_usd=10.0))
    assert not account.affords(candidate(None), 0.0)
    assert ExplorationAccount(ExplorationBudget(1.0)).affords(candidate(None), 0.0)
