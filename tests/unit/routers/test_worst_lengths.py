"""How long an answer may be at worst: what is known of such prompts, else what the request allows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pointsman.experts.spec import ExpertSpec, ExpertState
from pointsman.routers.selection.filters.chain import filters_for
from pointsman.routers.training.lengths import MIN_EVIDENCE, fit_lengths
from pointsman.routers.types import Assessment, Budget
from tests.unit.routers.pools import assessment, figures_of, request, spec

TWO_TOKENS = {"a": (1.5, 2.0)}
WIDE = {"a": (200.0, 400.0)}
OPEN = spec("a", context_window_tokens=None)


def worst(expert: ExpertSpec, lengths: dict[str, tuple[float, float]], limit: int | None = None, **told: Any) -> float:
    given = assessment({"a": 0.5}, **lengths)
    given = Assessment(
        replace(given.classification, **told), given.quality, given.completion_tokens, given.artifact_hash
    )
    asked = request(max_completion_tokens=limit)
    return figures_of((expert, ExpertState()), asked=asked, given=given).estimates(0).completion_tokens_worst


@pytest.mark.parametrize(
    ("lengths", "limit", "own", "window", "expected"),
    [
        (WIDE, 8000, None, None, 400),
        (WIDE, 100, None, None, 100),
        (WIDE, None, 300, None, 300),
        (TWO_TOKENS, 8000, None, None, 8000),
        (TWO_TOKENS, 8000, 512, None, 8000),
        (TWO_TOKENS, 1, None, None, 1),
        (TWO_TOKENS, None, 512, None, 512),
        (TWO_TOKENS, None, None, None, 1024),
        (TWO_TOKENS, 8000, None, 4100, 4000),
        (TWO_TOKENS, None, None, 600, 500),
        ({}, 8000, None, None, 8000),
        ({}, None, 4096, None, 4096),
        ({}, None, None, None, 1024),
        ({"a": (200.0, math.nan)}, 8000, None, None, 8000),
        ({"a": (20.0, 31.0)}, 8000, None, None, 8000),
        ({"a": (20.0, 32.0)}, 8000, None, None, 32),
    ],
)
def test_the_worst_length(
    lengths: dict[str, tuple[float, float]], limit: int | None, own: int | None, window: int | None, expected: float
) -> None:
    expert = spec("a", context_window_tokens=window, default_max_tokens=own)
    assert worst(expert, lengths, limit) == expected


@pytest.mark.parametrize("told", [{"out_of_scope": True}, {"unmeasured": True}, {"unread_language": "es"}])
def test_evidence_of_other_prompts_bounds_nothing(told: dict[str, Any]) -> None:
    assert worst(OPEN, WIDE, 8000, **told) == 8000
    assert worst(OPEN, WIDE, 8000, uncertain=True) == 400


def test_a_cost_cap_is_held_against_what_the_request_allows() -> None:
    given = assessment({"a": 0.5}, **TWO_TOKENS)
    # 100 prompt tokens at $1 and 8,000 answer tokens at $2 per million.
    for cap, passes in ((0.0162, True), (0.0160, False)):
        asked = request(Budget(max_cost_usd=cap), max_completion_tokens=8000)
        figures = figures_of((OPEN, ExpertState()), asked=asked, given=given)
        assert all(rule.passes(figures)[0] for rule in filters_for(asked, figures)) is passes


def test_few_answers_have_no_quantile() -> None:
    tokens = np.full((MIN_EVIDENCE, 2), 300.0)
    tokens[0, 1] = np.nan
    category, posterior = np.zeros(MIN_EVIDENCE, dtype=np.int64), np.ones((MIN_EVIDENCE, 1), dtype=np.float32)
    mean, high = fit_lengths(tokens, category, posterior)
    assert mean.ravel().tolist() == [300.0, 300.0]
    assert high[0, 0] == pytest.approx(300.0)
    assert math.isnan(high[1, 0])
