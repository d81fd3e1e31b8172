"""The most that a call may take, to reserve it against the limits of its caller."""

from __future__ import annotations

from typing import Final

from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.access.limits import Account, Amounts
from pointsman.gateway.wire.fields import invalid
from pointsman.gateway.wire.request import Inbound

#: Held of a rate of tokens for an answer that nothing bounds but the context window, which would be most of a minute's.
_USUAL_ANSWER_TOKENS: Final = 1_024


def known_of(spec: ExpertSpec, account: Account) -> bool:
    """Whether the worst case of every call to an expert is known in all that is promised to be kept."""
    bounded = spec.default_max_tokens is not None or spec.context_window_tokens is not None
    priced = spec.price is not None and (bounded or spec.price.worst_output_usd_per_mtok == 0)
    metered = spec.energy is not None and (bounded or spec.energy.j_per_completion_token == 0)
    return spec.null or ((priced or not account.in_usd) and (metered or not account.in_joules))


def worst_case(spec: ExpertSpec, inbound: Inbound, account: Account, *, requests: int) -> Amounts:
    """Requests, tokens, dollars and joules that a call may take; 0 for what the account does not limit.

    As exact as the estimate of the prompt's tokens; an answer is as long as the caller's limit or the context window
    lets it be, and there are as many as are asked for.

    Raises:
        RequestRefused: Nothing bounds the answer: the caller's limit cannot be read, and no context window is known.
    """
    if spec.null:
        return requests, 0.0, 0.0, 0.0
    work = inbound.work
    answers = work.answers if inbound.asked.writes else 0
    if (
        work.unread_limit is not None
        and answers
        and spec.context_window_tokens is None
        and (account.in_usd or account.in_joules)
    ):
        raise invalid(work.unread_limit, "a whole number of at least 1, for a key whose spending is limited")
    prompt, stated, longest = longest_prompt(spec, inbound), _stated(spec, inbound), _longest(spec, inbound)
    answer = longest or 0
    usual = answer if stated is not None else min(answer, _USUAL_ANSWER_TOKENS) if longest else _USUAL_ANSWER_TOKENS
    if work.unread_limit is not None:
        # What cannot be read holds no less than what is not stated.
        usual = max(usual, min(spec.default_max_tokens or 0, answer))
    answer *= answers
    usd = spec.price.worst_cost_usd(prompt, answer) if account.in_usd and spec.price is not None else 0.0
    joules = spec.energy.energy_j(prompt, answer) if account.in_joules and spec.energy is not None else 0.0
    return requests, prompt + usual * answers, usd, joules


def longest_prompt(spec: ExpertSpec, inbound: Inbound) -> int:
    """Tokens that the prompt may have, pictures and files included."""
    work, window, prompt = inbound.work, spec.context_window_tokens, inbound.prompt_tokens
    if not work.unseen_tokens:
        return prompt
    whole = prompt + work.unseen_tokens
    # No expert reads more of one prompt.
    return max(prompt, min(whole, window)) if window is not None and work.longest_prompt_tokens is None else whole


def longest_answer(spec: ExpertSpec, inbound: Inbound) -> int | None:
    """Tokens that all answers to a request may have together; None where nothing bounds them."""
    if not inbound.asked.writes:
        return 0
    longest = _longest(spec, inbound)
    return None if longest is None else longest * inbound.work.answers


def _longest(spec: ExpertSpec, inbound: Inbound) -> int | None:
    """Tokens of one answer at most."""
    stated, window = _stated(spec, inbound), spec.context_window_tokens
    if window is None:
        return stated
    # All of it: how much of it the prompt leaves is an estimate, and one that a caller could blow up.
    return window if stated is None or stated > window else stated


def _stated(spec: ExpertSpec, inbound: Inbound) -> int | None:
    """Tokens after which an answer ends by the caller's limit or the expert's own."""
    if inbound.work.unread_limit is not None:
        return inbound.max_completion_tokens
    return inbound.max_completion_tokens or spec.default_max_tokens
