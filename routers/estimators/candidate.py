"""Put all estimates of one expert for one request together."""

from __future__ import annotations

from experts.spec import ExpertSpec, ExpertState
from routers.estimators.cost import estimate_cost
from routers.estimators.energy import estimate_energy
from routers.estimators.latency import estimate_latency
from routers.estimators.prior import quality_prior
from routers.estimators.tokens import UNKNOWN_COMPLETION_TOKENS
from routers.types import Assessment, Candidate, Estimates, RouteRequest


def build_candidate(spec: ExpertSpec, state: ExpertState, request: RouteRequest, assessment: Assessment) -> Candidate:
    """What the expert would do with the request, by everything known of both.

    The answer is never longer than the caller's limit (or the expert's own where the caller states none), nor than what
    is left of the context window.
    """
    name = spec.known_as or spec.name
    prompt_tokens = request.prompt_tokens
    quality = assessment.quality.get(name)
    if quality is None:
        quality = quality_prior(spec, assessment.classification)
    tokens, tokens_worst = assessment.completion_tokens.get(name, UNKNOWN_COMPLETION_TOKENS)
    limit = request.max_completion_tokens
    if limit is None:
        limit = spec.default_max_tokens
    if spec.context_window_tokens is not None:
        room = max(spec.context_window_tokens - prompt_tokens, 0)
        limit = room if limit is None else min(limit, room)
    if limit is not None:
        tokens = min(tokens, limit)
        tokens_worst = min(tokens_worst, limit)
    ttft, ttft_worst, latency, latency_worst, latency_source = estimate_latency(
        spec, state, prompt_tokens, tokens, tokens_worst
    )
    energy, energy_worst, energy_source = estimate_energy(spec, prompt_tokens, tokens, tokens_worst)
    cost, cost_worst = estimate_cost(spec, prompt_tokens, tokens, tokens_worst)
    return Candidate(
        spec,
        state,
        Estimates(
            quality,
            tokens,
            tokens_worst,
            ttft,
            ttft_worst,
            latency,
            latency_worst,
            energy,
            energy_worst,
            cost,
            cost_worst,
            energy_source,
            latency_source,
        ),
    )
