"""The decision about one request: read what the caller allows, assess the prompt, select an expert.

A decision waits for few things: data in Redis (a session's history, a long prompt's assessment, cached answers), an
embedder so slow that it runs in a thread, and the queue for full experts. Everything else is arithmetic in this
process. `now` does that part at once, and `later` continues with the part that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.access.caller import Caller
from pointsman.gateway.deciding.admission import Admission, AdmissionRequest, full_experts
from pointsman.gateway.deciding.aliases import AliasTable, with_fallbacks
from pointsman.gateway.deciding.assessor import Assessor
from pointsman.gateway.deciding.decision_memory import DecisionMemory, again, rests_on_load
from pointsman.gateway.deciding.decision_memory import NullAnswers as Repeated
from pointsman.gateway.deciding.decision_policy import DecisionPolicy
from pointsman.gateway.deciding.eligibility import held_by_expert, holders, in_pool, known, permitted, spoken
from pointsman.gateway.deciding.evidence_plan import EvidencePlanner
from pointsman.gateway.deciding.null_experts import NullExperts
from pointsman.gateway.deciding.question import NO_OFFERS, Assessed, Question, named_in, without_quality
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.ids import DecisionIds
from pointsman.gateway.shared.average_budgets import AverageBudgets
from pointsman.gateway.shared.decision_cache import DecisionCache
from pointsman.gateway.shared.learning import Learning
from pointsman.gateway.shared.made_ids import MadeIds
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.budget import parse_budget, parse_session, states_routing
from pointsman.gateway.wire.caching import CacheStatus, parse_caching
from pointsman.gateway.wire.evidence import parse_evidence
from pointsman.gateway.wire.flags import take_flags
from pointsman.gateway.wire.opening import opening_of
from pointsman.gateway.wire.request import AUTO, Inbound, strip_routing, write_out
from pointsman.gateway.wire.urgency import NOT_URGENT, parse_urgency
from pointsman.routers.conversation import Turn, recall
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.types import (
    ONE_ANSWER,
    Budget,
    CompleteExplanation,
    Decision,
    Reason,
    Rejection,
    Rule,
    Stay,
)

#: Id of the decision to be, and when the request's last byte was in (monotonic).
Arrival = tuple[str, float]

_NO_BUDGET: Final = Budget()
#: How long a decision holds while nothing that it rests upon changes: the figures in its explanation grow older.
_HOLDS_S: Final = 60.0

#: Beyond so many, looking whether all are ready takes as long as deciding.
_FEW_EXPERTS: Final = 64


class Decider:
    """Makes decisions. One per process; holds no state of its own beyond its parts.

    Args:
        pool: The experts.
        router: Assesses and selects.
        cache: Of assessments, None for none.
        sessions: Who answered last.
        made: Who made what a request may name.
        telemetry: Told every decision.
        averages: Prices of the average budgets.
        learning: Corrections from judged answers.
        nulls: Answers without a model.
        evidence: Plans to ask several experts.
        admission: Lets requests wait for room.
        policy: The operator's.
        aliases: Further names that may be asked for.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        pool: ExpertPool,
        router: RouterProtocol,
        cache: DecisionCache | None,
        sessions: Sessions,
        made: MadeIds,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        learning: Learning | None,
        nulls: NullExperts | None,
        evidence: EvidencePlanner,
        admission: Admission,
        policy: DecisionPolicy,
        aliases: AliasTable,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._router = router
        self._cache = cache
        self._assessor = Assessor(router, cache)
        self._sessions = sessions
        self._made = made
        self._telemetry = telemetry
        self._averages = averages
        self._learning = learning
        self._nulls = nulls
        self._evidence = evidence
        self._admission = admission
        self._policy = policy
        self.aliases = aliases
        self._unbounded = policy.budget == _NO_BUDGET
        self._clock = clock
        self._ids = DecisionIds()
        # Prices move with every request, and load counts where latency does.
        steady = averages is None and not rests_on_load(policy.budget) and len(pool) <= _FEW_EXPERTS
        self._memory = DecisionMemory(pool, entries=cache.entries, ttl_s=_HOLDS_S) if cache and steady else None

    def arrival(self) -> Arrival:
        """A request is here as a whole: the id of its decision, and this moment."""
        return self._ids.new(), self._clock()

    def read_large(
        self, inbound: Inbound, caller: Caller, headers: Mapping[bytes, bytes], arrival: Arrival
    ) -> Question:
        """As `read`, in another thread, with all of the work that grows with the request.

        Raises:
            RequestRefused: As `read`.
        """
        question = self.read(inbound, caller, headers, arrival)
        if self._cache is not None:
            question.keys = tuple(self._key(question, text) for text in question.texts)
        write_out(inbound)
        return question

    def read(
        self, inbound: Inbound, caller: Caller, headers: Mapping[bytes, bytes], arrival: Arrival | None = None
    ) -> Question:
        """Read what the caller states of the routing. Takes our own fields and flags out of the request.

        Args:
            inbound: The request.
            caller: Who asks.
            headers: Of the request, lower-case names.
            arrival: Where that was noted already.

        Raises:
            RequestRefused: A budget or flag is malformed, or the named model does not exist.
        """
        decision_id, received_s = self.arrival() if arrival is None else arrival
        routing = strip_routing(inbound)
        name, alias = inbound.model, self.aliases.applied(inbound, self._pool)
        budget = self._policy.budget if alias is None or alias.budget is None else alias.budget
        experts, session, evidence_options, urgency = None, None, None, NOT_URGENT
        if routing is not None or states_routing(headers):
            budget, experts = parse_budget(routing, headers, budget)
            session = self._session(parse_session(routing, headers), caller.tenant)
            evidence_options = parse_evidence(routing)
            urgency = parse_urgency(routing, headers)
        # A conversation's first turn has nobody to stay with.
        opens = False
        if session is None and self._policy.derive_sessions and inbound.model == AUTO and inbound.endpoint.writes:
            session, opens = self._session(opening_of(inbound), caller.tenant), not inbound.earlier
        caching = parse_caching(routing, headers)
        if not inbound.endpoint.writes:
            budget = replace(budget, weights=without_quality(budget.weights))
        elif self._policy.flags:
            budget = take_flags(inbound, budget, self._policy.flags)
        if not self._policy.keeps_turns:
            held_by_expert(inbound)
        if inbound.translated is not None and inbound.translated.native_only is not None:
            spoken(self._pool, inbound.model, inbound.translated)
        allowed = in_pool(self._pool, experts)
        meant = None
        if alias is not None:
            meant = self.aliases.meant(alias, inbound, self._pool, allowed, caller.experts)
            allowed = alias.narrowed(allowed)
        texts: tuple[str, ...] = (inbound.text,)
        if inbound.model == AUTO:
            if self._policy.stay_bonus is not None:
                texts = (*inbound.earlier, inbound.text)
            if self._averages is not None:
                budget = self._averages.priced(budget)
            allowed = self.aliases.chosen_among(allowed, self._pool, inbound)
            if caller.experts is not None:
                allowed = permitted(caller.experts, allowed, None if alias is None else name)
        else:
            known(self._pool, inbound.model, caller.experts, self.aliases, inbound.star)
            if caller.experts is not None:
                permitted(caller.experts, frozenset({inbound.model}), name)
            unbounded = self._unbounded if budget is self._policy.budget else budget == _NO_BUDGET
            if allowed is None and unbounded and (meant is None or not meant.fallbacks):
                texts = ()
            # A concrete model bypasses routing, but no cap and no block: these hold however the expert was chosen.
            named = frozenset({inbound.model})
            allowed = named if allowed is None else allowed & named
        return Question(
            inbound,
            caller,
            decision_id,
            budget,
            allowed,
            texts,
            session,
            caching,
            evidence_options,
            urgency,
            received_s,
            opens,
            named_in(inbound, caller),
            meant=meant,
        )

    def now(self, question: Question) -> RoutedRequest | None:
        """Decide without waiting; None if something has to be waited for: `later` continues from there.

        Raises:
            RequestRefused: No expert has room, and waiting is of no use.
        """
        if self._waits(question):
            return None
        learned = None if self._learning is None else self._learning.corrections_of(question.tenant)
        repeated = self._repeated(question)
        if repeated is not None and self._memory is not None:
            held = self._memory.find(repeated, learned, question.received_s)
            if held is not None:
                return self._routed(question, again(held, question.decision_id), CacheStatus.LOCAL)
        for index, text in enumerate(question.texts):
            key = question.keys[index] if question.keys else "" if repeated is None else repeated[0]
            assessed = self._assessor.now(question, text, key)
            if assessed is None:
                question.assessed.clear()
                return None
            question.assessed.append(assessed)
        question.complete = True
        routed = self._decided(question)
        if full_experts(routed.decision):
            refusal = self._admission.refusal(routed.decision, self._admission_request(question))
            if refusal is None:
                return None
            self._telemetry.decided(routed.decision, routed.hit)
            raise refusal
        if repeated is not None and self._memory is not None:
            self._memory.keep(repeated, routed.decision, learned, question.received_s)
        return routed

    async def later(self, question: Question, *, wait: bool = True) -> RoutedRequest:
        """Decide, once everything that has to be waited for is here.

        A decision holds in the step of the event loop in which it was made: a call that begins later may find its
        expert full.

        Args:
            question: What `now` could not decide.
            wait: Whether to wait for an expert to have room.

        Raises:
            RequestRefused: An earlier answer's expert may not be asked, or no expert has room and waiting is of no use.
        """
        if not question.complete:
            await self._complete(question)
        routed = self._decided(question)
        while wait and full_experts(routed.decision):
            used = await self._admission.wait(routed.decision, self._admission_request(question))
            routed = self._decided(question)
            used(routed.decision)
        return routed

    def _waits(self, question: Question) -> bool:
        """Whether something else than the prompt's assessment has to be waited for."""
        translated = question.inbound.translated
        return (
            (question.session is not None and not question.opens)
            or (self._nulls is not None and self._nulls.concern(question.inbound.model))
            or (translated is not None and translated.binding is not None)
            or bool(question.named)
        )

    async def _complete(self, question: Question) -> None:
        """Find out what else the decision rests upon: earlier answers, the null experts, the assessments."""
        inbound = question.inbound
        question.allowed = await holders(self._made, self._pool, question)
        if question.session is not None and not question.opens:
            question.stay = await self._session_affinity(question.session)
        texts = question.texts
        if self._nulls is not None and inbound.endpoint.writes and self._nulls.concern(inbound.model):
            asked = await self._nulls.ask(inbound, question.tenant, question.caching, question.allowed)
            question.asked = asked
            if asked.safety is not None and asked.safety.allowed != question.allowed:
                question.allowed = asked.safety.allowed
            # What the null experts offer is weighed against what the prompt needs.
            texts = texts or (inbound.text,)
            for text in self._nulls.also_read(inbound):
                asked.beside.append((await self._assessment(question, text, ""))[0])
        for index, text in enumerate(texts):
            key = question.keys[index] if index < len(question.keys) else ""
            question.assessed.append(await self._assessment(question, text, key))
        question.complete = True

    async def _assessment(self, question: Question, text: str, key: str) -> Assessed:
        return self._assessor.now(question, text, key) or await self._assessor.of(question, text, key)

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
            or inbound.work is not ONE_ANSWER
        ):
            return None
        key = question.keys[0] if question.keys else self._key(question, inbound.text)
        return key, inbound.prompt_tokens, inbound.max_completion_tokens, inbound.required

    def _key(self, question: Question, text: str) -> str:
        return DecisionCache.key(question.tenant, self._router.artifact_hash, text)

    def _admission_request(self, question: Question) -> AdmissionRequest:
        until_s = question.received_s + self._admission.max_wait_s
        deadline_s = question.deadline_s
        return AdmissionRequest(
            question.tenant,
            question.urgency.priority,
            until_s if deadline_s is None else min(until_s, deadline_s),
            question.caller.seen,
        )

    def _decided(self, question: Question) -> RoutedRequest:
        inbound, asked = question.inbound, question.asked
        if not question.assessed:
            decision = self._named(question)
            hit = CacheStatus.BYPASS
        else:
            assessment, hit = question.assessed[-1]
            if len(question.assessed) > 1:
                turns = zip(question.texts, question.assessed, strict=True)
                assessment = recall([Turn(text, one) for text, (one, _) in turns])
            offers = NO_OFFERS if self._nulls is None or asked is None else self._nulls.offers(asked, assessment)
            request = question.request(inbound.text, question.stay, offers)
            learned = None if self._learning is None else self._learning.corrections_of(question.tenant)
            view = self._pool.snapshot()
            decision = self._router.select(assessment, request, view, learned)
            if question.fallbacks and request.offers.blocked_by is None:
                select = partial(self._router.select, assessment, view=view, learned=learned)
                further = replace(request, required=inbound.required)
                decision = with_fallbacks(decision, question.fallbacks, further, select)
            if inbound.model != AUTO and decision.expert is not None and decision.reason is not Reason.BLOCKED:
                decision = replace(decision, reason=Reason.NAMED)
        return self._routed(question, decision, hit)

    def _named(self, question: Question) -> Decision:
        """The caller decided, and states nothing that could speak against it but that the expert is full."""
        name, router = question.inbound.model, self._router
        if self._pool.has_room(name):
            return Decision(question.decision_id, name, (), Reason.NAMED, None, router.id, router.artifact_hash)
        full = Rejection(name, Rule.SATURATED, "it has as many calls in flight as it takes", transient=True)
        told = CompleteExplanation(rejections=(full,), barred={name: Rule.SATURATED})
        return Decision(question.decision_id, None, (), Reason.INFEASIBLE, None, router.id, router.artifact_hash, told)

    def _routed(self, question: Question, decision: Decision, hit: CacheStatus) -> RoutedRequest:
        inbound = question.inbound
        plan = None
        if inbound.model == AUTO and inbound.translated is None and inbound.endpoint.writes:
            plan = self._evidence.plan(inbound, question.budget, decision, question.evidence_options)
        return RoutedRequest(
            inbound,
            question.caller,
            decision,
            hit,
            question.received_s,
            question.session,
            question.asked,
            plan,
            question.caching,
            question.deadline_s,
            operators=self._policy.caps_of(question.budget) if decision.expert is None else frozenset(),
        )

    def _session(self, stated: str | None, tenant: str) -> str | None:
        if stated is None or self._policy.stay_bonus is None:
            return None
        return self._sessions.key(tenant, stated)

    async def _session_affinity(self, session: str) -> Stay | None:
        expert = await self._sessions.previous(session)
        return None if expert is None else Stay(expert, self._policy.stay_bonus or 0.0)
