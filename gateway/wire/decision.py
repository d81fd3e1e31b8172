"""A decision as JSON, the same for `POST /v1/route`, `GET /v1/decisions/{id}` and `pointsman route --json`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from pointsman.routers.estimators.online import LEAST_SHARE
from pointsman.routers.types import (
    Candidate,
    Classification,
    CompleteExplanation,
    Decision,
    Doubt,
    Estimates,
    Reason,
    Rejection,
)


def seen_by(decision: Decision, seen: frozenset[str] | None) -> Decision:
    """The decision as far as somebody may be told of it: without a word of any other expert.

    Args:
        decision: The whole.
        seen: Experts that may be named; None for all.
    """
    if seen is None:
        return decision
    told = CompleteExplanation(
        tuple(one for one in decision.candidates if one.spec.name in seen),
        tuple(one for one in decision.rejections if one.expert in seen),
    )
    fallbacks = tuple(name for name in decision.fallbacks if name in seen)
    return replace(decision, fallbacks=fallbacks, explanation=told)


def decision_to_dict(decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON types; unknown figures are null."""
    rejections = {rejection.expert: rejection for rejection in decision.rejections}
    return {
        "object": "pointsman.decision",
        "id": decision.id,
        "expert": decision.expert,
        "fallbacks": list(decision.fallbacks),
        "reason": decision.reason.value,
        "same_as": decision.same_as,
        "explanation": explain(decision),
        "classification": _classification(decision.classification),
        "candidates": [
            _candidate(candidate, decision, rejections.get(candidate.spec.name)) for candidate in decision.candidates
        ],
        "router": decision.router,
        "artifact_hash": decision.artifact_hash,
    }


def decision_to_record(decision: Decision) -> dict[str, Any]:
    """What is kept of a decision beyond this process: who won, who lost and by which rule; no estimates, no prompt."""
    kind = decision.classification
    return {
        "object": "pointsman.decision",
        "id": decision.id,
        "expert": decision.expert,
        "fallbacks": decision.fallbacks,
        "reason": decision.reason.value,
        "category": None if kind is None else kind.category,
        "posterior": {} if kind is None else {n: p for n, p in kind.posterior.items() if p >= LEAST_SHARE},
        "candidates": [
            {
                "expert": score.expert,
                "quality": score.quality,
                "quality_learned": score.learned,
                "utility": score.utility,
                "rule": None if score.rule is None else str(score.rule),
            }
            for score in decision.explanation.scores
        ],
        "router": decision.router,
        "artifact_hash": decision.artifact_hash,
    }


def explain(decision: Decision) -> str:
    """The decision in a sentence or two."""
    if decision.expert is None:
        causes = "; ".join(f"{rejection.expert}: {rejection.detail}" for rejection in decision.rejections)
        return f"No expert may answer this request. {causes}"
    if decision.reason is Reason.NAMED:
        return f"{decision.expert} answers: the caller asked for it by name."
    chosen = next((c for c in decision.candidates if c.spec.name == decision.expert), None)
    offer = None if chosen is None else chosen.offer
    if decision.reason is Reason.BLOCKED:
        return f"{decision.expert} answers: {'the operator blocks what is asked' if offer is None else offer.detail}."
    parts = [f"{decision.expert} answers"]
    kind = decision.classification
    if offer is not None:
        parts.append(f": {offer.detail}")
    elif kind is not None:
        probability = kind.posterior.get(kind.category)
        sure = "" if probability is None else f" (probability {probability:.2f})"
        if decision.reason is Reason.UNCERTAIN:
            parts.append(f": {_why_a_generalist(kind)}, so a generalist takes it")
        else:
            parts.append(f": the prompt looks like {kind.category}{sure}")
    if chosen is not None:
        quality = chosen.estimates.quality
        parts.append(f"; predicted quality {quality.mean:.2f}")
        if abs(quality.learned) >= 0.005:
            parts.append(f" (judged answers have moved it by {quality.learned:+.2f})")
    if decision.reason is Reason.ONLY_CANDIDATE:
        parts.append("; no other expert was admissible")
    elif decision.fallbacks:
        parts.append(f"; next in line is {decision.fallbacks[0]}")
    return "".join(parts) + "."


def _why_a_generalist(kind: Classification) -> str:
    if kind.doubt is Doubt.LANGUAGE:
        return f"the router cannot read the prompt's language ({kind.unread_language})"
    if kind.doubt is Doubt.OUT_OF_SCOPE:
        return "the prompt resembles no category"
    if kind.doubt is Doubt.UNMEASURED:
        return f"no expert was measured on {kind.category}"
    return "the category is unclear"


def _classification(kind: Classification | None) -> dict[str, Any] | None:
    if kind is None:
        return None
    ranked = sorted(kind.posterior.items(), key=lambda item: (-item[1], item[0]))
    return {
        "category": kind.category,
        "posterior": {name: _figure(value) for name, value in ranked},
        "entropy_nats": _figure(kind.entropy),
        "out_of_scope": kind.out_of_scope,
        "uncertain": kind.uncertain,
        "unmeasured": kind.unmeasured,
        "unread_language": kind.unread_language or None,
        "doubt": kind.doubt,
    }


def _candidate(candidate: Candidate, decision: Decision, rejection: Rejection | None) -> dict[str, Any]:
    return {
        "expert": candidate.spec.name,
        "chosen": candidate.spec.name == decision.expert,
        "admissible": candidate.spec.name == decision.expert or candidate.spec.name in decision.fallbacks,
        "utility": _figure(candidate.utility),
        "terms": {name: _figure(value) for name, value in candidate.terms.items()},
        "estimates": _estimates(candidate.estimates),
        "in_flight": candidate.state.in_flight,
        **({} if candidate.offer is None or candidate.offer.quality is None else {"offer": candidate.offer.detail}),
        "rejection": None
        if rejection is None
        else {"rule": str(rejection.rule), "detail": rejection.detail, "transient": rejection.transient},
    }


def _estimates(estimates: Estimates) -> dict[str, Any]:
    return {
        "quality": _figure(estimates.quality.mean),
        "quality_std": _figure(estimates.quality.std),
        "quality_source": estimates.quality.source.value,
        "quality_learned": _figure(estimates.quality.learned),
        "completion_tokens": _figure(estimates.completion_tokens),
        "completion_tokens_worst": _figure(estimates.completion_tokens_worst),
        "ttft_ms": _figure(estimates.ttft_ms),
        "ttft_ms_worst": _figure(estimates.ttft_ms_worst),
        "latency_ms": _figure(estimates.latency_ms),
        "latency_ms_worst": _figure(estimates.latency_ms_worst),
        "latency_source": None if estimates.latency_source is None else estimates.latency_source.value,
        "energy_j": _figure(estimates.energy_j),
        "energy_j_worst": _figure(estimates.energy_j_worst),
        "energy_source": None if estimates.energy_source is None else estimates.energy_source.value,
        "cost_usd": _figure(estimates.cost_usd),
        "cost_usd_worst": _figure(estimates.cost_usd_worst),
    }


def _figure(value: float | None) -> float | None:
    """Six significant digits; null for what is unknown, since JSON has no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
