"""An outcome as JSON: for `GET /v1/decisions/{id}` and for the outcome file."""

from __future__ import annotations

from typing import Any

from pointsman.routers.outcomes import CallOutcome, Outcome


def outcome_to_dict(outcome: Outcome | None) -> dict[str, Any] | None:
    """The outcome as JSON types."""
    if outcome is None:
        return None
    return {
        "expert": outcome.expert,
        "status": outcome.status,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
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
        "cost_usd": call.cost_usd,
        "energy_j": call.energy_j,
        "latency_ms": call.latency_ms,
        "usage_implausible": call.usage_implausible,
    }
