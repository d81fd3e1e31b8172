"""Budgets on the wire."""

import math
from dataclasses import fields

import orjson
import pytest

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.budget import parse_budget
from pointsman.routers.types import Budget, Weights

NONE: dict[bytes, bytes] = {}


def test_the_operators_budget_holds_where_the_caller_states_none() -> None:
    default = Budget(max_cost_usd=0.01)
    assert parse_budget(None, NONE, default) == (default, None)


def test_body_and_headers_state_the_same_things() -> None:
    body, _ = parse_budget(
        {
            "max_ttft_ms": 100,
            "max_latency_ms": 2000,
            "max_energy_j": 0.5,
            "max_cost_usd": 0.001,
            "min_quality": 0.4,
            "weights": {"energy": 0.2},
        },
        NONE,
        Budget(),
    )
    headers, _ = parse_budget(
        None,
        {
            b"x-pointsman-max-ttft-ms": b"100",
            b"x-pointsman-max-latency-ms": b"2000",
            b"x-pointsman-max-energy-j": b"0.5",
            b"x-pointsman-max-cost-usd": b"0.001",
            b"x-pointsman-min-quality": b"0.4",
            b"x-pointsman-weight-energy": b"0.2",
        },
        Budget(),
    )
    assert body == headers == Budget(100, 2000, 0.5, 0.001, 0.4, Weights(energy=0.2))


def test_every_weight_may_be_stated_by_header() -> None:
    names = [weight.name for weight in fields(Weights)]
    headers = {f"x-pointsman-weight-{name}".encode(): b"0.5" for name in names}
    budget, _ = parse_budget(None, headers, Budget())
    assert budget.weights == Weights(**dict.fromkeys(names, 0.5))


def test_the_body_wins_over_a_header() -> None:
    budget, _ = parse_budget({"max_energy_j": 2}, {b"x-pointsman-max-energy-j": b"1"}, Budget())
    assert budget.max_energy_j == 2


def test_stated_caps_leave_the_operator_s_others_in_place() -> None:
    budget, _ = parse_budget({"max_energy_j": 2}, NONE, Budget(max_cost_usd=0.1, weights=Weights(cost=1)))
    assert budget == Budget(max_energy_j=2, max_cost_usd=0.1, weights=Weights(cost=1))


def test_a_caller_cannot_lift_the_operator_s_local_only() -> None:
    budget, _ = parse_budget({"local_only": False}, NONE, Budget(local_only=True))
    assert budget.local_only


def test_a_caller_may_narrow_the_pool() -> None:
    assert parse_budget({"experts": ["a", "b"]}, NONE, Budget())[1] == {"a", "b"}


@pytest.mark.parametrize(
    ("routing", "field"),
    [
        (3, "routing"),
        ([], "routing"),
        ({"max_enrgy_j": 1}, "routing.max_enrgy_j"),
        ({"max_energy_j": "1"}, "routing.max_energy_j"),
        ({"max_energy_j": True}, "routing.max_energy_j"),
        ({"max_energy_j": -1}, "routing.max_energy_j"),
        ({"max_energy_j": 0}, "routing.max_energy_j"),
        ({"max_energy_j": math.inf}, "routing.max_energy_j"),
        ({"max_energy_j": math.nan}, "routing.max_energy_j"),
        ({"min_quality": 1.5}, "routing.min_quality"),
        ({"weights": 1}, "routing.weights"),
        ({"weights": {"speed": 1}}, "routing.weights.speed"),
        ({"weights": {"cost": None}}, "routing.weights.cost"),
        ({"local_only": 1}, "routing.local_only"),
        ({"experts": []}, "routing.experts"),
        ({"experts": [1]}, "routing.experts"),
    ],
)
def test_every_malformed_budget_names_its_field(routing: object, field: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_budget(routing, NONE, Budget())
    assert refused.value.param == field
    assert refused.value.code is Code.INVALID_BUDGET
    assert field in orjson.loads(refused.value.body())["error"]["message"]


@pytest.mark.parametrize("value", [b"", b"abc", b"-1", b"nan", b"inf", b"\xff", b"0"])
def test_every_malformed_header_names_itself(value: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_budget(None, {b"x-pointsman-max-energy-j": value}, Budget())
    assert refused.value.param == "x-pointsman-max-energy-j"


def test_a_cost_cap_of_zero_means_free_experts() -> None:
    assert parse_budget({"max_cost_usd": 0}, NONE, Budget())[0].max_cost_usd == 0
