"""One request as the router gets it: the prompt, and what the caller states about routing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from pointsman.experts.spec import MODEL_CAPABILITIES
from pointsman.gateway.access.caller import ANYBODY, Caller
from pointsman.gateway.deciding.aliases import AliasedRequest
from pointsman.gateway.deciding.null_experts import NullAnswers
from pointsman.gateway.deciding.safety import HarmLevel
from pointsman.gateway.wire.caching import CacheControl, CacheStatus
from pointsman.gateway.wire.evidence import EvidenceOptions
from pointsman.gateway.wire.provider_ids import NamedId, named_ids
from pointsman.gateway.wire.request import AUTO, Inbound
from pointsman.gateway.wire.urgency import Urgency
from pointsman.routers.types import Assessment, Budget, Offers, RouteRequest, Stay, Weights

NO_OFFERS: Final = Offers()


#: An assessment, and how the cache fared.
Assessed = tuple[Assessment, CacheStatus]


@dataclass(slots=True, eq=False)
class Question:
    """One request as it is put to the router, and what has been found out for its decision.

    Attributes:
        inbound: The parsed request, without our own fields and flags.
        caller: Who asks.
        decision_id: Of the decision to be.
        budget: What the caller allows, with the present prices.
        allowed: Experts that may be asked; None for all.
        texts: The user's turns to assess, the latest last; empty where a model is named and nothing else is asked.
        session: Key of the caller's session, None without one.
        caching: Whether the answer may come from a cache, or go into one.
        evidence_options: Of answers as evidence.
        urgency: Deadline and priority.
        received_s: When the request's last byte was in (monotonic).
        opens: Whether it is the first turn of its session.
        named: Ids of what lies with a provider, which must be the tenant's.
        assessed: The assessments of the texts, as far as they are known.
        asked: What the null experts have to say of it; None where they have no say.
        stay: Who answered the session's previous turn; None where nobody did.
        complete: Whether all that the decision rests upon is here.
        keys: Of the texts in the decision cache, where they are known already.
        meant: What the alias means that it asks for; None where it asks for none.
    """

    inbound: Inbound
    caller: Caller
    decision_id: str
    budget: Budget
    allowed: frozenset[str] | None
    texts: tuple[str, ...]
    session: str | None
    caching: CacheControl
    evidence_options: EvidenceOptions | None
    urgency: Urgency
    received_s: float
    opens: bool = False
    named: tuple[NamedId, ...] = ()
    assessed: list[Assessed] = field(default_factory=list)
    asked: NullAnswers | None = None
    stay: Stay | None = None
    complete: bool = False
    keys: tuple[str, ...] = ()
    meant: AliasedRequest | None = None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.caller.tenant

    @property
    def deadline_s(self) -> float | None:
        """When an answer is of no more use (monotonic); None without a deadline."""
        stated_ms = self.urgency.deadline_ms
        return None if stated_ms is None else self.received_s + stated_ms / 1e3

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Who is asked, in this order, where none of the experts that are asked for answers.

        Nobody, where the request is about what others may not do: ids and answers of one provider, or harm.
        """
        if self.meant is None or self.named:
            return ()
        translated, safety = self.inbound.translated, None if self.asked is None else self.asked.safety
        bound = translated is not None and translated.binding is not None
        harmful = safety is not None and safety.shade is not HarmLevel.BENIGN
        return () if bound or harmful else self.meant.fallbacks

    def request(self, text: str, stay: Stay | None = None, offers: Offers = NO_OFFERS) -> RouteRequest:
        """The request as the router reads it, with one of the user's turns."""
        inbound, meant = self.inbound, self.meant
        required = inbound.required if meant is None else meant.required
        if meant is None and inbound.model != AUTO:
            # Who names a model knows what it can do, or hears of it from the model's own server.
            required = required - MODEL_CAPABILITIES
        return RouteRequest(
            self.decision_id,
            text,
            inbound.prompt_tokens,
            inbound.max_completion_tokens,
            required,
            self.budget,
            self.allowed,
            stay,
            offers,
            inbound.work,
        )


def named_in(inbound: Inbound, caller: Caller) -> tuple[NamedId, ...]:
    """The ids that a request names, as its client wrote it."""
    asked = inbound if inbound.translated is None else inbound.translated
    named = named_ids(asked.endpoint, asked.body, asked.payload)
    # Without keys there is one tenant, and everything is its own; but it lies with one expert.
    return tuple(one for one in named if one.rename is None) if caller is ANYBODY else named


def without_quality(weights: Weights) -> Weights:
    """For answers that no model writes: nobody predicts how good they are, so what they take is all that counts."""
    if weights.latency or weights.energy or weights.cost:
        return replace(weights, quality=0.0)
    return replace(weights, quality=0.0, latency=1.0, cost=1.0)
