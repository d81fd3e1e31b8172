"""The most that a call may take, to reserve it against the limits of its caller; and what it took, to settle it."""

from __future__ import annotations

from typing import Final

from pointsman.experts.spec import ExpertSpec, Usage
from pointsman.gateway.access.limits import Account, Amounts, Reservation
from pointsman.gateway.errors import CLIENT_LEFT
from pointsman.gateway.wire.fields import invalid
from pointsman.gateway.wire.request import Inbound

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

    As exact as the estimate of the prompt's tokens; an answer is as long as the caller's limit or the context window
    lets it be, and there are as many as are asked for.

    Raises:
        RequestRefused: Nothing bounds the answer: the caller's limit cannot be read, and no context window is known.
    """
    if spec.null:
        return requests, 0.0, 0.0, 0.0
    work, window, prompt = inbound.work, spec.context_window_tokens, inbound.prompt_tokens
    if work.unseen_tokens:
        prompt += work.unseen_tokens
        if window is not None and work.longest_prompt_tokens is None:
            # No expert reads more of one prompt.
            prompt = max(inbound.prompt_tokens, min(prompt, window))
    answers = work.answers if inbound.asked.writes else 0
    stated = inbound.max_completion_tokens
    if work.unread_limit is None:
        stated = stated or spec.default_max_tokens
    elif answers and window is None and (account.in_usd or account.in_joules):
        raise invalid(work.unread_limit, "a whole number of at least 1, for a key whose spending is limited")
    longest = stated
    if window is not None:
        # All of it: how much the prompt leaves is an estimate, and one that a caller could blow up.
        longest = window if stated is None or stated > window else stated
    answer = longest or 0
    usual = answer if stated is not None else min(answer, _USUAL_ANSWER_TOKENS) if longest else _USUAL_ANSWER_TOKENS
    if work.unread_limit is not None:
        # What cannot be read holds no less than what is not stated.
        usual = max(usual, min(spec.default_max_tokens or 0, answer))
    answer *= answers
    usd = spec.price.cost_usd(prompt, answer) if account.in_usd and spec.price is not None else 0.0
    joules = spec.energy.energy_j(prompt, answer) if account.in_joules and spec.energy is not None else 0.0
    return requests, prompt + usual * answers, usd, joules


def settle(reservation: Reservation, spec: ExpertSpec, inbound: Inbound, status: int, usage: Usage | None) -> None:
    """A call is over.

    What the expert reported is what it spent. An error spent nothing. A stream without a report, whether it ended or
    was left, spent its prompt and what it had said, estimated; any other answer without a report spent the worst case.
    """
    if usage is None:
        left = status == CLIENT_LEFT
        if spec.null or (status >= 400 and not left and not reservation.heard_tokens):
            reservation.release()
            return
        if not inbound.stream:
            _, tokens, usd, joules = reservation.amounts
            reservation.settle(tokens, usd, joules)
            return
        usage = Usage(inbound.prompt_tokens, reservation.heard_tokens)
    prompt, answer = usage.prompt_tokens, usage.completion_tokens
    reservation.settle(
        prompt + answer,
        0.0 if spec.price is None else spec.price.cost_usd(prompt, answer),
        0.0 if spec.energy is None else spec.energy.energy_j(prompt, answer),
    )
