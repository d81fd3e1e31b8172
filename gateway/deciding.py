"""Deciding one request: read what the caller allows, assess the prompt, select. Without waiting wherever possible.

A decision waits for three things only: a session's history and a cached assessment that may lie in Redis, and an
embedder so slow that it runs in a thread. Everything else is arithmetic in this process, and `decide_now` does it on
the spot; `decide` is the same with the waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from experts.pool import ExpertPool
from gateway.admission import Admission, Applicant, full_experts
from gateway.assessing import Assessed, Assessor
from gateway.average_budgets import AverageBudgets
from gateway.cache import DecisionCache, Hit
from gateway.caller import Caller
from gateway.decision_memory import Asked as Repeated
from gateway.decision_memory import DecisionMemory, again, rests_on_load
from gateway.eligibility import bound, in_pool, known, permitted, spoken
from gateway.evidence import Evidence
from gateway.ids import DecisionIds
from gateway.learning import Learning
from gateway.null_experts import Asked, NullExperts
from gateway.question import NO_OFFERS, Question
from gateway.recorder import Routed
from gateway.sessions import Sessions
from gateway.telemetry import Telemetry
from gateway.wire.budget import parse_budget, parse_session, states_routing
from gateway.wire.caching import parse_caching
from gateway.wire.evidence import parse_evidence
from gateway.wire.flags import take_flags
from gateway.wire.opening import opening_of
from gateway.wire.request import AUTO, Inbound, strip_routing
from gateway.wire.urgency import NOT_URGENT, parse_urgency
from routers.conversation import Turn, recall
from routers.protocols import Router
from routers.types import (
    Budget,
    Decision,
    Reason,
    Rejection,
    Rule,
    Stay,
    Told,
    Weights,
)

_NO_BUDGET: Final = Budget()
#: How long a decision holds while nothing that it rests upon changes: the figures in its explanation grow older.
_HOLDS_S: Final = 60.0

#: Beyond so many, looking whether all are ready takes as long as deciding.
_FEW_EXPERTS: Final = 64


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """What the operator set for every decision.

    Attributes:
        budget: Of callers who state none.
        flags: Whether goals may be written into the prompt.
        stay_bonus: What staying with a session's last expert is worth; None where conversations are not looked at.
        derive_sessions: Whether a conversation that is not named is known by how it began.
    """

    budget: Budget
    flags: bool
    stay_bonus: float | None = None
    derive_sessions: bool = False


class Decider:
    """Makes decisions. One per process; holds no state of its own beyond its parts.

    Args:
        pool: The experts.
        router: Assesses and selects.
        cache: Of assessments, None for none.
        sessions: Who answered last.
        telemetry: Told every decision.
        averages: Prices of the average budgets.
        learning: Corrections from judged answers.
        nulls: Answers without a model.
        evidence: Plans to ask several experts.
        admission: Lets requests wait for room.
        policy: The operator's.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        pool: ExpertPool,
        router: Router,
        cache: DecisionCache | None,
        sessions: Sessions,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        learning: Learning | None,
        nulls: NullExperts | None,
        evidence: Evidence,
        admission: Admission,
        policy: DecisionPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._router = router
        self._cache = cache
        self._assessor = Assessor(router, cache)
        self._sessions = sessions
        self._telemetry = telemetry
        self._averages = averages
        self._learning = learning
        self._nulls = nulls
        self._evidence = evidence
        self._admission = admission
        self._policy = policy
        self._clock = clock
        self._ids = DecisionIds()
        # Prices move with every request, and load counts where latency does.
        steady = averages is None and not rests_on_load(policy.budget) and len(pool) <= _FEW_EXPERTS
        self._memory = DecisionMemory(pool, entries=cache.entries, ttl_s=_HOLDS_S) if cache and steady else None

    def decide_now(self, inbound: Inbound, caller: Caller, headers: Mapping[bytes, bytes]) -> Routed | None:
        """Decide on the spot, or not at all: None where `decide` would wait. The request is spoilt then; read it anew.

        Takes our own fields and flags out of the request.

        Raises:
            RequestRefused: As `decide`.
        """
        if self._nulls is not None and self._nulls.concern(inbound.model):
            return None
        if inbound.foreign is not None and inbound.foreign.binding is not None:
            return None
        question = self._read(inbound, caller, headers)
        if (question.session is not None and not question.opens) or question.urgency.deadline_ms is not None:
            return None
        learned = None if self._learning is None else self._learning.corrections
        repeated = self._repeated(question)
        if repeated is not None and self._memory is not None:
            held = self._memory.find(repeated, learned, question.received_s)
            if held is not None:
                return self._told(self._routed(question, again(held, question.decision_id), Hit.LOCAL, None))
        found = []
        for text in question.texts:
            assessed = self._assessor.now(question, text, "" if repeated is None else repeated[0])
            if assessed is None:
                return None
            found.append(assessed)
        routed = self._decided(question, found)
        if full_experts(routed.decision):
            refusal = self._admission.refusal(routed.decision, self._applicant(question))
            if refusal is None:
                return None
            self._told(routed)
            raise refusal
        if repeated is not None and self._memory is not None:
            self._memory.keep(repeated, routed.decision, learned, question.received_s)
        return self._told(routed)

    def _repeated(self, question: Question) -> Repeated | None:
        """By what the question is known when it is asked again; None where its decision rests on more."""
        cache, inbound = self._cache, question.inbound
        if (
            self._memory is None
            or cache is None
            or inbound.model != AUTO
            or question.budget is not self._policy.budget
            or question.allowed is not None
            or len(question.texts) != 1
        ):
            return None
        key = cache.key(question.tenant, self._router.artifact_hash, inbound.text)
        return key, inbound.prompt_tokens, inbound.max_completion_tokens, inbound.required

    async def decide(
        self, inbound: Inbound, caller: Caller, headers: Mapping[bytes, bytes], *, wait: bool = True
    ) -> Routed:
        """Read the budgets and decide. Takes our own fields and flags out of the request.

        Args:
            inbound: The request.
            caller: Who asks.
            headers: Of the request, lower-case names.
            wait: Whether to wait for an expert to have room.

        Raises:
            RequestRefused: A budget or flag is malformed, the named model does not exist, or no expert has room and
                waiting is of no use.
        """
        question = self._read(inbound, caller, headers)
        if inbound.foreign is not None and inbound.foreign.binding is not None:
            question.allowed = await bound(self._sessions, question, inbound.foreign.binding)
        stay = None if question.session is None or question.opens else await self._stay(question.session)
        asked = None
        if self._nulls is not None and inbound.endpoint.writes and self._nulls.concern(inbound.model):
            asked = await self._nulls.ask(inbound, caller.tenant, question.caching, question.allowed)
            if asked.safety is not None and asked.safety.allowed != question.allowed:
                question.allowed = asked.safety.allowed
        # What the null experts offer is weighed against what the prompt needs.
        texts = question.texts if asked is None else question.texts or (inbound.text,)
        found = [self._assessor.now(question, text) or await self._assessor.of(question, text) for text in texts]
        routed = self._decided(question, found, stay, asked)
        while wait and full_experts(routed.decision):
            used = await self._admission.wait(routed.decision, self._applicant(question))
            routed = self._decided(question, found, stay, asked)
            used(routed.decision)
        return self._told(routed)

    def _applicant(self, question: Question) -> Applicant:
        until_s = question.received_s + self._admission.max_wait_s
        deadline_s = question.deadline_s
        return Applicant(
            question.tenant,
            question.urgency.priority,
            until_s if deadline_s is None else min(until_s, deadline_s),
        )

    def _told(self, routed: Routed) -> Routed:
        self._telemetry.decided(routed.decision, routed.hit)
        return routed

    def _read(self, inbound: Inbound, caller: Caller, headers: Mapping[bytes, bytes]) -> Question:
        received_s = self._clock()
        routing = strip_routing(inbound)
        budget, experts, session, wish, urgency = self._policy.budget, None, None, None, NOT_URGENT
        if routing is not None or states_routing(headers):
            budget, experts = parse_budget(routing, headers, budget)
            session = self._session(parse_session(routing, headers), caller.tenant)
            wish = parse_evidence(routing)
            urgency = parse_urgency(routing, headers)
        # A conversation's first turn has nobody to stay with.
        opens = False
        if session is None and self._policy.derive_sessions and inbound.model == AUTO and inbound.endpoint.writes:
            session, opens = self._session(opening_of(inbound.payload), caller.tenant), not inbound.earlier
        caching = parse_caching(routing, headers)
        if not inbound.endpoint.writes:
            budget = replace(budget, weights=_without_quality(budget.weights))
        elif self._policy.flags:
            budget = take_flags(inbound, budget)
        if inbound.foreign is not None and inbound.foreign.native_only is not None:
            spoken(self._pool, inbound.model, inbound.foreign)
        allowed = in_pool(self._pool, experts)
        texts: tuple[str, ...] = (inbound.text,)
        if inbound.model == AUTO:
            if self._policy.stay_bonus is not None:
                texts = (*inbound.earlier, inbound.text)
            if self._averages is not None:
                budget = self._averages.priced(budget)
            if caller.experts is not None:
                allowed = permitted(caller.experts, allowed)
        else:
            known(self._pool, inbound.model)
            if caller.experts is not None:
                permitted(caller.experts, frozenset({inbound.model}))
            if budget == _NO_BUDGET and allowed is None:
                texts = ()
            # A concrete model bypasses routing, but no cap and no block: these are promises whoever chose the expert.
            named = frozenset({inbound.model})
            allowed = named if allowed is None else allowed & named
        return Question(
            inbound,
            caller,
            self._ids.new(),
            budget,
            allowed,
            texts,
            session,
            caching,
            wish,
            urgency,
            received_s,
            opens,
        )

    def _decided(
        self,
        question: Question,
        found: Sequence[Assessed],
        stay: Stay | None = None,
        asked: Asked | None = None,
    ) -> Routed:
        inbound = question.inbound
        auto = inbound.model == AUTO
        if not found:
            decision = self._named(question)
            hit = Hit.BYPASS
        else:
            assessment, hit = found[-1]
            if len(found) > 1:
                assessment = recall([Turn(text, one) for text, (one, _) in zip(question.texts, found, strict=True)])
            offers = NO_OFFERS if self._nulls is None or asked is None else self._nulls.offers(asked, assessment)
            request = question.request(inbound.text, stay, offers)
            learned = None if self._learning is None else self._learning.corrections
            decision = self._router.select(assessment, request, self._pool.snapshot(), learned)
            if not auto and decision.expert is not None and decision.reason is not Reason.BLOCKED:
                decision = replace(decision, reason=Reason.NAMED)
        return self._routed(question, decision, hit, asked)

    def _named(self, question: Question) -> Decision:
        """The caller decided, and states nothing that could speak against it but that the expert is full."""
        name, router = question.inbound.model, self._router
        if self._pool.has_room(name):
            return Decision(question.decision_id, name, (), Reason.NAMED, None, router.id, router.artifact_hash)
        full = Rejection(name, Rule.SATURATED, "it has as many calls in flight as it takes", transient=True)
        told = Told(rejections=(full,), barred={name: Rule.SATURATED})
        return Decision(question.decision_id, None, (), Reason.INFEASIBLE, None, router.id, router.artifact_hash, told)

    def _routed(self, question: Question, decision: Decision, hit: Hit, asked: Asked | None) -> Routed:
        inbound = question.inbound
        plan = None
        if inbound.model == AUTO and inbound.foreign is None and inbound.endpoint.writes:
            plan = self._evidence.plan(inbound, question.budget, decision, question.wish)
        return Routed(
            inbound,
            question.caller,
            decision,
            hit,
            question.received_s,
            question.session,
            asked,
            plan,
            question.caching,
            question.deadline_s,
        )

    def _session(self, stated: str | None, tenant: str) -> str | None:
        if stated is None or self._policy.stay_bonus is None:
            return None
        return self._sessions.key(tenant, stated)

    async def _stay(self, session: str) -> Stay | None:
        expert = await self._sessions.previous(session)
        return None if expert is None else Stay(expert, self._policy.stay_bonus or 0.0)


def _without_quality(weights: Weights) -> Weights:
    """For answers that no model writes: nobody predicts how good they are, so what they take is all that counts."""
    if weights.latency or weights.energy or weights.cost:
        return replace(weights, quality=0.0)
    return replace(weights, quality=0.0, latency=1.0, cost=1.0)
