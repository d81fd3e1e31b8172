"""An outcome as JSON: for `GET /v1/decisions/{id}` and for the outcome file."""

from __future__ import annotations

import math
from typing import Any, Final

from pointsman.routers.outcomes import CallOutcome, Outcome

_TIMES: Final = ("ttft_ms", "latency_ms")


def outcome_to_dict(outcome: Outcome | None) -> dict[str, Any] | None:
    """The outcome as JSON types."""
    if outcome is None:
        return None
    return {
        "expert": outcome.expert,
        "status": outcome.status,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "cached_tokens": outcome.cached_tokens,
        "cache_write_tokens": outcome.cache_write_tokens,
        "reasoning_tokens": outcome.reasoning_tokens,
        "cost_usd": outcome.cost_usd,
        "energy_j": outcome.energy_j,
        "energy_source": None if outcome.energy_source is None else outcome.energy_source.value,
        "ttft_ms": outcome.ttft_ms,
        "latency_ms": outcome.latency_ms,
        "usage_implausible": outcome.usage_implausible,
        "quality": outcome.quality,
        **({"calls": [call_to_dict(call) for call in outcome.calls]} if outcome.calls else {}),
        **({} if outcome.shadow is None else {"shadow": call_to_dict(outcome.shadow)}),
    }


def call_to_dict(call: CallOutcome) -> dict[str, Any]:
    """One of several calls as JSON types."""
    return {
        "expert": call.expert,
        "status": call.status,
        "verdict": call.verdict.value,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "cached_tokens": call.cached_tokens,
        "cache_write_tokens": call.cache_write_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "cost_usd": call.cost_usd,
        "energy_j": call.energy_j,
        "latency_ms": call.latency_ms,
        "usage_implausible": call.usage_implausible,
    }


def in_whole_ms(outcome: dict[str, Any] | None) -> dict[str, Any] | None:
    """An outcome as JSON types, for who is told times in whole milliseconds, begun ones counted."""
    if outcome is None:
        return None
    told = dict(outcome)
    told.update({name: _whole(outcome[name]) for name in _TIMES if name in outcome})
    if "calls" in outcome:
        told["calls"] = [in_whole_ms(call) for call in outcome["calls"]]
    if "shadow" in outcome:
        told["shadow"] = in_whole_ms(outcome["shadow"])
    return told


def _whole(time_ms: float | None) -> int | None:
    return None if time_ms is None else math.ceil(time_ms)
