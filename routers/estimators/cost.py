"""Cost of one call in US dollars from the list price, at the expected and the worst-case answer length."""

from __future__ import annotations

from experts.spec import ExpertSpec


def estimate_cost(
    spec: ExpertSpec, prompt_tokens: int, tokens: float, tokens_worst: float
) -> tuple[float | None, float | None]:
    """Expected and worst-case dollars; None where the expert has no price."""
    price = spec.price
    if price is None:
        return None, None
    return price.cost_usd(prompt_tokens, tokens), price.cost_usd(prompt_tokens, tokens_worst)
