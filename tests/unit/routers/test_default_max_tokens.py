"""Where an expert ends an answer of its own accord bounds the worst case."""

from __future__ import annotations

import pytest

from pointsman.experts.spec import EnergyModel, ExpertSpec, ExpertState
from pointsman.routers.types import RouteRequest
from tests.unit.routers.pools import figures_of


@pytest.mark.parametrize(
    ("stated", "default", "window", "worst"),
    [
        (None, None, None, 1024),
        (None, 256, None, 256),
        (50, 256, None, 50),
        (400, 256, None, 400),
        (None, 256, 110, 100),
    ],
)
def test_the_worst_case_ends_where_the_answer_ends(
    stated: int | None, default: int | None, window: int | None, worst: int
) -> None:
    spec = ExpertSpec(
        "e", "fake", "e", energy=EnergyModel(0, 0, 1), default_max_tokens=default, context_window_tokens=window
    )
    request = RouteRequest("id", "text", 10, max_completion_tokens=stated)
    estimates = figures_of((spec, ExpertState()), asked=request).estimates(0)
    assert estimates.completion_tokens_worst == worst
    assert estimates.energy_j_worst == worst
