"""The outcome of a decision: the calls that were made, and what they spent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pointsman.experts.spec import Source


class Verdict(StrEnum):
    """What one of several calls was to the answer that was accepted; `not_compared` where one states no result."""

    ACCEPTED = "accepted"
    AGREED = "agreed"
    DIFFERED = "differed"
    FAILED = "failed"
    NOT_COMPARED = "not_compared"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """One of several calls made for one request; None where unknown, as in `Outcome`."""

    expert: str
    status: int | None
    verdict: Verdict
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    energy_j: float | None = None
    latency_ms: float | None = None
    usage_implausible: bool = False
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


# Made for every request, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True)
class Outcome:
    """What became of a decision.

    Attributes:
        decision_id: Which decision.
        expert: Who answered in the end (a fallback, perhaps).
        status: HTTP status the client saw; 499 when the client left.
        prompt_tokens, completion_tokens: As the expert reported, None when it did not.
        cached_tokens, cache_write_tokens, reasoning_tokens: Of these, what came from the expert's cache, what went into
            it, and what was reasoning.
        cost_usd: From the price list and the reported usage.
        energy_j: Joules, and `energy_source` says whether measured or estimated.
        ttft_ms, latency_ms: As the gateway saw them.
        quality: In [0, 1], None until somebody judged it.
        calls: All calls where several answers were compared: cost and energy are their sum then, None where one of
            them is unknown, and the tokens those of the accepted answer. Empty for one answer.
        usage_implausible: Whether the expert reported tokens that cannot be, in which case the most that can be stands
            for them, or none where they were no counts; of several calls, whether one did.
        shadow: A call made after the client had its answer, to learn; None without one. Not in the figures above.
    """

    decision_id: str
    expert: str
    status: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    energy_j: float | None = None
    energy_source: Source | None = None
    ttft_ms: float | None = None
    latency_ms: float | None = None
    quality: float | None = None
    calls: tuple[CallOutcome, ...] = ()
    shadow: CallOutcome | None = None
    usage_implausible: bool = False
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
