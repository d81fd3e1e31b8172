"""Energy of one call in joules: `E = b0 + b1 l_in + b2 l_out` (MoE², papers.md §3.2), expected and worst case."""

from __future__ import annotations

from experts.spec import ExpertSpec, Source

#: energy_j, energy_j_worst, source
EnergyEstimate = tuple[float | None, float | None, Source | None]


def estimate_energy(spec: ExpertSpec, prompt_tokens: int, tokens: float, tokens_worst: float) -> EnergyEstimate:
    """Expected and worst-case joules and where they come from; None where the expert has no energy model."""
    model = spec.energy
    if model is None:
        return None, None, None
    prompt_j = model.base_j + prompt_tokens * model.j_per_prompt_token
    per_token_j = model.j_per_completion_token
    return prompt_j + tokens * per_token_j, prompt_j + tokens_worst * per_token_j, model.source
