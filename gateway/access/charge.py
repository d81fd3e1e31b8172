"""What a finished call is charged, whatever became of it. Nothing else decides that.

No work ends without being charged. What the expert reports is what it did, as far as it can have done that much. Where
it reports nothing, or the end of its work is not known (it broke off, ran out of time, or nobody waited for it), it may
have done all that was asked for, and that is charged. Only a call that never reached it, or that it turned away, is
free.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability, ExpertSpec, Usage
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.access.worst_case import longest_answer, longest_prompt
from pointsman.gateway.wire.request import Inbound
from pointsman.gateway.wire.request_fields import is_text_part

#: Beyond the bytes of a prompt, tokens that a chat template or a server's own instructions may add.
_TEMPLATE_TOKENS: Final = 1_024
#: What an estimated token of a prompt may be at most: a token is a byte at least.
_BYTES_PER_TOKEN: Final = 4
#: More than any model reads or writes at once, for what nothing else bounds.
_MOST_TOKENS: Final = 1_000_000
#: Of an error from 500 on, those that say that nothing was done: not known here, busy, another version of HTTP.
_NOTHING_DONE: Final = frozenset({501, 503, 505})
#: Below 500, those that say that time ran out, or that somebody on the way left.
_TOO_LATE: Final = frozenset({408, 499})


class Basis(StrEnum):
    """What a charge goes by. The values appear in the decision's record."""

    NOTHING = "nothing"
    REPORTED = "reported"
    WORST_CASE = "worst_case"


# Made for every request, and freezing costs: not frozen, and never changed.
@dataclass(slots=True)
class Charge:
    """What a call is charged.

    Attributes:
        basis: What it goes by.
        tokens: Of prompt and answer.
        implausible: Whether the expert reported what cannot be; `tokens` are then the most that can be.
    """

    basis: Basis
    tokens: Usage
    implausible: bool = False

    @property
    def known(self) -> Usage | None:
        """The tokens, where they are more than an assumption."""
        return self.tokens if self.basis is Basis.REPORTED else None


_FREE: Final = Charge(Basis.NOTHING, Usage(0, 0))


def turned_away(status: int) -> bool:
    """Whether an answer with this status says that the expert did nothing for the call."""
    return (300 <= status < 500 and status not in _TOO_LATE) or status in _NOTHING_DONE


def charge_of(
    spec: ExpertSpec,
    inbound: Inbound,
    reported: Usage | None,
    *,
    complete: bool = True,
    worked: bool = True,
    heard_tokens: int = 0,
) -> Charge:
    """What a call that is over is charged.

    Args:
        spec: Who was called.
        inbound: The request.
        reported: The latest that the expert said of its tokens; None where it said nothing.
        complete: Whether that is of the whole answer.
        worked: Whether the expert may have worked on it at all.
        heard_tokens: Tokens of the answer that were seen, estimated; counts where nothing bounds an answer.
    """
    if reported is not None:
        absurd = reported.prompt_tokens < 0 or reported.completion_tokens < 0
        if complete and not absurd:
            return _believed(spec, inbound, reported)
        return Charge(Basis.WORST_CASE, _most(spec, inbound, heard_tokens, reported), absurd)
    if spec.null or not worked:
        return _FREE
    return Charge(Basis.WORST_CASE, _most(spec, inbound, heard_tokens, None))


def settle(reservation: Reservation, spec: ExpertSpec, charge: Charge, *, before: Charge | None = None) -> None:
    """Put what a call is charged in place of what was held for it. Only the first time counts.

    Args:
        reservation: What was held.
        spec: Who was called.
        charge: What the call is charged.
        before: What the same call is charged for having been sent before, on a connection that the expert closed.
    """
    tokens, usd, joules = _amounts(reservation, spec, charge)
    if before is not None:
        more = _amounts(reservation, spec, before)
        tokens, usd, joules = tokens + more[0], usd + more[1], joules + more[2]
    reservation.settle(tokens, usd, joules)


def _amounts(reservation: Reservation, spec: ExpertSpec, charge: Charge) -> tuple[float, float, float]:
    """Tokens, dollars and joules of a charge."""
    if charge.basis is Basis.NOTHING:
        return 0.0, 0.0, 0.0
    tokens = charge.tokens.prompt_tokens + charge.tokens.completion_tokens
    joules = spec.energy_j(charge.tokens) or 0.0
    if charge.basis is Basis.REPORTED:
        return tokens, spec.cost_usd(charge.tokens) or 0.0, joules
    usd = spec.worst_cost_usd(charge.tokens) or 0.0
    # What was held, or more: of a rate of tokens not the longest answer is held where nobody stated its length, and the
    # expert may have said that the prompt is longer than it was thought to be.
    _, held_tokens, held_usd, held_joules = reservation.amounts
    return max(held_tokens, tokens), max(held_usd, usd), max(held_joules, joules)


def _most(spec: ExpertSpec, inbound: Inbound, heard_tokens: int, reported: Usage | None) -> Usage:
    """The worst case, in tokens."""
    prompt, answer = longest_prompt(spec, inbound), longest_answer(spec, inbound)
    if reported is not None:
        prompt = max(prompt, min(reported.prompt_tokens, _most_prompt(spec, inbound)))
        heard_tokens = max(heard_tokens, reported.completion_tokens)
    return Usage(prompt, min(heard_tokens, _MOST_TOKENS) if answer is None else answer)


def _believed(spec: ExpertSpec, inbound: Inbound, reported: Usage) -> Charge:
    """As it was reported, as far as that can be."""
    prompt, answer = reported.prompt_tokens, reported.completion_tokens
    stated = inbound.max_completion_tokens
    if stated is None:
        stated = spec.default_max_tokens
    # The usual report, without a further look: an answer within its limit to a prompt whose tokens are bytes at least.
    if prompt <= len(inbound.body) and stated is not None and answer <= stated:
        return Charge(Basis.REPORTED, reported)
    prompt, answer = min(prompt, _most_prompt(spec, inbound)), min(answer, _most_answer(spec, inbound))
    if prompt == reported.prompt_tokens and answer == reported.completion_tokens:
        return Charge(Basis.REPORTED, reported)
    # Nothing that it says of a cache makes this cheaper.
    written, reasoned = min(reported.cache_write_tokens, prompt), min(reported.reasoning_tokens, answer)
    return Charge(Basis.REPORTED, Usage(prompt, answer, 0, written, reasoned), True)


def _most_answer(spec: ExpertSpec, inbound: Inbound) -> int:
    """Tokens that all answers together can have."""
    longest = longest_answer(spec, inbound)
    return _MOST_TOKENS if longest is None else longest


def _most_prompt(spec: ExpertSpec, inbound: Inbound) -> int:
    """Tokens that the prompt can have."""
    most = _MOST_TOKENS
    if not _refers_elsewhere(inbound):
        # Where pairs are read, a text is read once for each pair: the estimate knows how often.
        most = max(len(inbound.body), _BYTES_PER_TOKEN * inbound.prompt_tokens) + _TEMPLATE_TOKENS
    window = spec.context_window_tokens
    # Elsewhere than in a chat several prompts may come at once, each with a window of its own.
    return min(most, window) if window is not None and inbound.endpoint is Endpoint.CHAT else most


def _refers_elsewhere(inbound: Inbound) -> bool:
    """Whether something of the prompt is not in the body: pictures, files, what was said before."""
    if Capability.VISION in inbound.required:
        return True
    if inbound.translated is not None and inbound.translated.native_only is not None:
        return True
    return any(_has_other_parts(message) for message in inbound.payload.get("messages") or ())


def _has_other_parts(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and any(isinstance(part, dict) and not is_text_part(part) for part in content)
