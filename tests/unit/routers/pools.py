"""Pools, requests and assessments for tests of the decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from pointsman.experts.spec import (
    AS_ESTIMATED,
    UNSEEN,
    EnergyModel,
    ExpertSpec,
    ExpertState,
    LatencyModel,
    PoolView,
    Price,
    Source,
    Speed,
    TokenFactors,
)
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.estimators.live import LiveFigures
from pointsman.routers.estimators.roster import Roster
from pointsman.routers.types import (
    AnswerLengths,
    Assessment,
    Budget,
    Classification,
    Prices,
    Qualities,
    Quality,
    RouteRequest,
    Weights,
)

CATEGORIES = ("code", "math")


def spec(name: str, **changes: object) -> ExpertSpec:
    """A fully known expert."""
    base = ExpertSpec(
        name,
        "fake",
        name,
        context_window_tokens=8192,
        params_total_b=7.0,
        price=Price(1.0, 2.0),
        latency=LatencyModel(100.0, 0.1, 10.0),
        energy=EnergyModel(1.0, 0.01, 0.1),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def assessment(qualities: Mapping[str, float], *, uncertain: bool = False, **tokens: tuple[float, float]) -> Assessment:
    """An assessment with given predicted qualities."""
    posterior = {"code": 0.9, "math": 0.1}
    classification = Classification(posterior, "uncertain" if uncertain else "code", 0.3, False, uncertain)
    quality = {name: Quality(value, 0.05, Source.MEASURED) for name, value in qualities.items()}
    return Assessment(classification, Qualities.of(quality), AnswerLengths.of(tokens), "hash")


def request(budget: Budget | None = None, **changes: object) -> RouteRequest:
    """A plain request."""
    return replace(RouteRequest("r1", "text", 100), budget=budget or Budget(), **changes)  # type: ignore[arg-type]


def figures_of(
    *entries: tuple[ExpertSpec, ExpertState], asked: RouteRequest | None = None, given: Assessment | None = None
) -> CallFigures:
    """The figures of a request over a pool; of a plain request on which no artefact says anything by default."""
    asked, given = asked or request(), given or assessment({})
    roster = Roster(tuple(spec for spec, _ in entries), given)
    live = LiveFigures(roster, tuple(state for _, state in entries))
    return CallFigures(
        roster, live, given, asked.prompt_tokens, asked.max_completion_tokens, offers=asked.offers, work=asked.work
    )


_unit = st.floats(0.0, 1.0)
_amount = st.floats(0.0, 100.0)
_usd = st.floats(0.0, 50.0)
_sometimes = lambda strategy: st.none() | strategy  # noqa: E731

_factor = st.floats(1.0, 8.0)
_speeds = st.just(UNSEEN) | st.builds(
    Speed,
    ttft_ms=st.floats(1.0, 5000.0),
    prefill_ms_per_token=st.floats(0.0, 10.0),
    tpot_ms=_sometimes(st.floats(0.1, 200.0)),
    ttft_p95_factor=_factor,
    tpot_p95_factor=_factor,
)
expert_states = st.builds(
    ExpertState,
    healthy=st.booleans(),
    awake=st.booleans(),
    in_flight=st.integers(0, 80),
    speed=_speeds,
    idle_speed=_speeds,
    tokens=st.just(AS_ESTIMATED) | st.floats(0.5, 2.0).map(lambda worst: TokenFactors(0.9 * worst, worst)),
    recent_calls=st.floats(0.0, 100.0),
)
_weight = st.just(0.0) | _amount
weights = st.builds(
    Weights,
    quality=_unit,
    latency=_weight,
    energy=_weight,
    cost=_weight,
    size=_weight,
    recency=_weight,
    verbosity=_weight,
    readability=_weight,
)
_price = st.just(0.0) | st.floats(0.0, 10.0)
prices = st.builds(Prices, per_usd=_price, per_j=_price, per_ttft_ms=_price)
budgets = st.builds(
    Budget,
    max_ttft_ms=_sometimes(st.floats(1.0, 1e4)),
    max_latency_ms=_sometimes(st.floats(1.0, 1e5)),
    max_energy_j=_sometimes(st.floats(0.1, 500.0)),
    max_cost_usd=_sometimes(st.floats(1e-6, 0.1)),
    min_quality=_sometimes(_unit),
    weights=weights,
    prices=prices,
    local_only=st.booleans(),
)


@st.composite
def views(draw: st.DrawFn, most: int = 6) -> tuple[PoolView, dict[str, float]]:
    """A pool of up to `most` experts in any state, and a predicted quality for some of them."""
    entries = []
    qualities = {}
    for index in range(draw(st.integers(0, most))):
        name = f"e{index}"
        entries.append(
            (
                spec(
                    name,
                    params_total_b=draw(_sometimes(st.floats(0.1, 500.0))),
                    price=draw(_sometimes(st.builds(Price, _usd, _usd, *[_sometimes(_usd)] * 3))),
                    latency=draw(
                        _sometimes(st.builds(LatencyModel, st.floats(0, 500), st.floats(0, 2), st.floats(0.1, 50)))
                    ),
                    energy=draw(_sometimes(st.builds(EnergyModel, st.floats(0, 5), st.floats(0, 1), st.floats(0, 1)))),
                    generalist=draw(st.booleans()),
                    local=draw(st.booleans()),
                    released=draw(st.sampled_from([None, "2023-05-01", "2024-11-20", "2025-02-02"])),
                    readability=draw(_sometimes(_unit)),
                    quality_prior=draw(st.sampled_from([{}, {"*": 0.6}, {"code": 0.8}, {"math": 0.7, "*": 0.2}])),
                    default_max_tokens=draw(st.sampled_from([None, 64])),
                    context_window_tokens=draw(st.sampled_from([None, 50, 1024, 8192])),
                ),
                draw(expert_states),
            )
        )
        if draw(st.booleans()):
            qualities[name] = draw(_unit)
    return PoolView(tuple(entries)), qualities


def is_nan(value: float) -> bool:
    """NaN, for readability."""
    return math.isnan(value)
