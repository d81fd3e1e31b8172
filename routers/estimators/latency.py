"""Time to first token and end-to-end latency of one call, expected and worst case.

Unloaded, an expert follows its linear model (`experts.spec.LatencyModel`; MoE², papers.md §3.2):
`ttft = base + l_in prefill`, `e2e = ttft + l_out tpot`. What the pool has observed lately goes before the model:
an observed time per token replaces `tpot`, and an observed time to first token is a floor under `l_in prefill`.

Load: a batch server slows as it fills. Figures that are not observed are multiplied by
`1 + in_flight / max_concurrency` (a full expert takes twice as long); observed ones already hold the load they were
observed under. The worst case takes the factor in any case, times the model's p95 factor, at the worst-case length.
"""

from __future__ import annotations

from experts.spec import ExpertSpec, ExpertState, Source

#: p95 over typical where only observations exist, the same as `LatencyModel`'s default.
OBSERVED_P95_FACTOR = 1.5

#: ttft_ms, ttft_ms_worst, latency_ms, latency_ms_worst, source
LatencyEstimate = tuple[float | None, float | None, float | None, float | None, Source | None]

UNKNOWN: LatencyEstimate = (None, None, None, None, None)


def estimate_latency(
    spec: ExpertSpec, state: ExpertState, prompt_tokens: int, tokens: float, tokens_worst: float
) -> LatencyEstimate:
    """Latency of one call in ms.

    Args:
        spec: The expert.
        state: Its live state.
        prompt_tokens: Input tokens.
        tokens: Expected answer tokens.
        tokens_worst: 95 % quantile of them.

    Returns:
        TTFT, worst-case TTFT, latency, worst-case latency, and where the figures come from. None where neither model
        nor observation says anything: a time to first token may be known where the rest is not.
    """
    model = spec.latency
    seen_ttft, seen_tpot = state.ttft_ms, state.tpot_ms
    if model is None and seen_ttft is None:
        return UNKNOWN
    load = 1.0 + state.in_flight / spec.max_concurrency
    factor = load * (OBSERVED_P95_FACTOR if model is None else model.p95_factor)
    if seen_ttft is not None:
        ttft = seen_ttft if model is None else max(seen_ttft, prompt_tokens * model.prefill_ms_per_token)
        ttft_worst = ttft * factor
    else:
        assert model is not None  # noqa: S101 (said above; mypy cannot see it)
        unloaded = model.base_ms + prompt_tokens * model.prefill_ms_per_token
        ttft, ttft_worst = unloaded * load, unloaded * factor
    if seen_tpot is not None:
        tpot, tpot_worst = seen_tpot, seen_tpot * factor
    elif model is not None:
        tpot, tpot_worst = model.tpot_ms * load, model.tpot_ms * factor
    else:
        return ttft, ttft_worst, None, None, Source.MEASURED
    source = Source.MEASURED if seen_tpot is not None and seen_ttft is not None else None
    if source is None:
        source = model.source if model is not None else Source.MEASURED
    return ttft, ttft_worst, ttft + tokens * tpot, ttft_worst + tokens_worst * tpot_worst, source
