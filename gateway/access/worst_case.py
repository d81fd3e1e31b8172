"""The most that a call may take, to reserve it against the limits of its caller."""

from __future__ import annotations

from typing import Any, Final

from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.access.limits import Account, Amounts
from pointsman.gateway.wire.request import Inbound

#: Fields that ask for several answers; the larger one counts.
_TIMES: Final = ("n", "best_of")

#: Held of a rate of tokens for an answer that nothing bounds but the context window, which would be most of a minute's.
_USUAL_ANSWER_TOKENS: Final = 1_024


def known_of(spec: ExpertSpec, account: Account) -> bool:
    """Whether the worst case of every call to an expert is known in all that is promised to be kept."""
    bounded = spec.default_max_tokens is not None or spec.context_window_tokens is not None
    priced = spec.price is not None and (bounded or spec.price.output_usd_per_mtok == 0)
    metered = spec.energy is not None and (bounded or spec.energy.j_per_completion_token == 0)
    return spec.null or ((priced or not account.in_usd) and (metered or not account.in_joules))


def worst_case(spec: ExpertSpec, inbound: Inbound, account: Account, *, requests: int) -> Amounts:
    """Requests, tokens, dollars and joules that a call may take; 0 for what the account does not limit.

    As exact as the estimate of the prompt's tokens; an answer is as long as it may be.
    """
    if spec.null:
        return requests, 0.0, 0.0, 0.0
    prompt = inbound.prompt_tokens
    stated = inbound.max_completion_tokens or spec.default_max_tokens
    answers = _answers(inbound.payload) if inbound.asked.writes else 0
    longest = _longest(spec, stated)
    answer = longest or 0
    usual = answer if stated is not None else min(answer, _USUAL_ANSWER_TOKENS) if longest else _USUAL_ANSWER_TOKENS
    answer *= answers
    usd = spec.price.cost_usd(prompt, answer) if account.in_usd and spec.price is not None else 0.0
    joules = spec.energy.energy_j(prompt, answer) if account.in_joules and spec.energy is not None else 0.0
    return requests, prompt + usual * answers, usd, joules


def longest_answer(spec: ExpertSpec, inbound: Inbound) -> int | None:
    """Tokens that all answers to a request may have together; None where nothing bounds them."""
    if not inbound.asked.writes:
        return 0
    stated = inbound.max_completion_tokens or spec.default_max_tokens
    longest = _longest(spec, stated)
    return None if longest is None else longest * _answers(inbound.payload)


def _longest(spec: ExpertSpec, stated: int | None) -> int | None:
    """Tokens of one answer at most."""
    window = spec.context_window_tokens
    if window is None:
        return stated
    # All of it: how much of it the prompt leaves is an estimate.
    return window if stated is None or stated > window else stated


def _answers(payload: dict[str, Any]) -> int:
    """How many answers are asked for at once."""
    count = 1
    for name in _TIMES:
        if name in payload:
            value = payload[name]
            if type(value) is int and value > count:
                count = value
    if "prompt" in payload:
        prompts = payload["prompt"]
        if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
            count *= len(prompts)
    return count
