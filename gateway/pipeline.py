"""The way of one request, with no HTTP in it: decide, dispatch with fallbacks, hand on the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from experts.errors import ExpertError
from experts.pool import ExpertPool
from experts.protocols import ExpertCall, ExpertReply, Headers
from gateway.answer import Answer
from gateway.average_budgets import AverageBudgets, Stake, failed
from gateway.cache import DecisionCache, Hit
from gateway.errors import CLIENT_LEFT, Code, RequestRefused, invalid_budget, refusal_for
from gateway.evidence import Evidence
from gateway.evidence_plan import Plan
from gateway.gathered import Gathered, GatheredAnswer, Reached, read_reply
from gateway.ids import new_decision_id
from gateway.learning import Learning
from gateway.ledger import Entry, Ledger
from gateway.null_experts import Asked, NullExperts, Recording
from gateway.recorder import Attempt, Recorder, Routed
from gateway.refusals import refusal_of
from gateway.sessions import Sessions
from gateway.telemetry import Telemetry
from gateway.whole_reply import is_stream, read_whole
from gateway.wire.budget import parse_budget, parse_session
from gateway.wire.caching import parse_caching
from gateway.wire.evidence import parse_evidence
from gateway.wire.flags import take_flags
from gateway.wire.request import AUTO, Inbound, expert_body, strip_routing
from routers.conversation import Turn, recall
from routers.protocols import Router
from routers.types import Assessment, Budget, Decision, Reason, RouteRequest, Stay

_log = logging.getLogger(__name__)

#: Statuses after which another expert may do better: load, outages, and an expert that is set up wrongly.
_TRY_NEXT: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})
#: Of these the client can make nothing: they speak of the operator's credentials or model names.
_OPERATORS_FAULT: Final = frozenset({401, 403, 404})
_NO_BUDGET: Final = Budget()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator set for every request.

    Attributes:
        budget: Of callers who state none.
        flags: Whether goals may be written into the prompt.
        max_attempts: Experts tried for one request.
        stay_bonus: What staying with a session's last expert is worth; None where conversations are not looked at.
    """

    budget: Budget
    flags: bool
    max_attempts: int
    stay_bonus: float | None = None


class Pipeline:
    """Decides and dispatches. One per process; holds no state of its own beyond its parts."""

    def __init__(
        self,
        *,
        pool: ExpertPool,
        router: Router,
        cache: DecisionCache | None,
        sessions: Sessions,
        ledger: Ledger,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        learning: Learning | None,
        nulls: NullExperts | None,
        evidence: Evidence,
        policy: Policy,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._router = router
        self._cache = cache
        self._sessions = sessions
        self._ledger = ledger
        self._telemetry = telemetry
        self._averages = averages
        self._learning = learning
        self._nulls = nulls
        self._evidence = evidence
        self._policy = policy
        self._clock = clock
        self._recorder = Recorder(pool=pool, ledger=ledger, telemetry=telemetry, averages=averages, clock=clock)

    async def route(self, inbound: Inbound, tenant: str, headers: Mapping[bytes, bytes]) -> Routed:
        """Read the budgets and decide. Takes our own fields and flags out of the request.

        Raises:
            RequestRefused: A budget or flag is malformed, or the named model does not exist.
        """
        received_s = self._clock()
        routing = strip_routing(inbound)
        budget, experts = parse_budget(routing, headers, self._policy.budget)
        session = self._session(parse_session(routing, headers), tenant)
        caching = parse_caching(routing, headers)
        wish = parse_evidence(routing)
        if self._policy.flags:
            budget = take_flags(inbound, budget)
        request = RouteRequest(
            id=new_decision_id(),
            text=inbound.text,
            prompt_tokens=inbound.prompt_tokens,
            max_completion_tokens=inbound.max_completion_tokens,
            required=inbound.required,
            budget=budget,
            allowed=self._allowed(experts),
            stay=None if session is None else await self._stay(session),
        )
        asked = None
        if self._nulls is not None and self._nulls.concern(inbound.model):
            asked = await self._nulls.ask(inbound, tenant, caching)
        if inbound.model == AUTO:
            if self._averages is not None:
                request = replace(request, budget=self._averages.priced(budget))
            earlier = () if self._policy.stay_bonus is None else inbound.earlier
            decision, hit = await self._decide(request, tenant, earlier, asked)
        else:
            decision, hit = await self._named(request, tenant, inbound.model, asked)
        plan = None
        if inbound.model == AUTO:
            plan = self._evidence.plan(inbound, request.budget, decision, wish)
        self._telemetry.decided(decision, hit)
        return Routed(inbound, tenant, decision, hit, received_s, session, asked, plan, caching)

    async def answer(self, routed: Routed, forward: Headers) -> Answer | GatheredAnswer:
        """Dispatch to the chosen expert, then to its fallbacks, until one answers.

        Args:
            routed: The decided request.
            forward: Client headers that may travel on.

        Returns:
            An answer whose head is here. Close it in every case.

        Raises:
            RequestRefused: No expert is admissible, or none of those tried answered.
        """
        decision = routed.decision
        if decision.expert is None:
            raise refusal_of(decision)
        if self._nulls is not None:
            self._nulls.decided(decision, gathered=routed.evidence is not None)
        entry = self._ledger.record(routed.tenant, decision)
        overhead_s = self._clock() - routed.received_s
        self._telemetry.overhead.observe(overhead_s)
        names = (decision.expert, *decision.fallbacks)
        if routed.evidence is not None:
            gathered = await self._gather(routed, routed.evidence, entry, forward)
            if gathered.accepted is not None:
                if routed.session is not None and gathered.accepted.answered:
                    self._sessions.put(routed.session, gathered.accepted.expert)
                recording = self._recording(routed, gathered.accepted.expert, gathered.belief)
                return GatheredAnswer(self._recorder, routed, entry, gathered, overhead_s, recording)
            # Whoever failed just now comes last.
            failed = {call.expert for call in gathered.calls}
            names = tuple(sorted(names, key=lambda name: name in failed))
        names = names[: self._policy.max_attempts]
        for index, name in enumerate(names):
            attempt = self._begin(name, routed, entry, stream=routed.inbound.stream)
            answer = await self._try(routed, attempt, forward, overhead_s, last=index == len(names) - 1)
            if answer is not None:
                return answer
        raise AssertionError("the last attempt answers or raises")

    async def _gather(self, routed: Routed, plan: Plan, entry: Entry, forward: Headers) -> Gathered:
        """Ask experts and compare what they answer."""
        done: list[Reached] = []
        stakes: list[Stake] = []
        ttft_ms = None

        async def call(name: str) -> Reached:
            try:
                found = await self._reach(name, routed, entry, forward, stakes)
            except BaseException:
                # What a cancelled call cost is not known; that it was made is.
                done.append(Reached(name, None))
                raise
            done.append(found)
            return found

        try:
            gathered = await self._evidence.gather(plan, call, routed.received_s)
        except BaseException:
            # The client left, and the calls under way are cancelled.
            left = Gathered(tuple(done), None, None, frozenset())
            expert = done[0].expert if done else str(routed.decision.expert)
            self._recorder.gathered(routed, entry, expert, left.outcomes(), CLIENT_LEFT)
            raise
        else:
            if gathered.accepted is not None and gathered.accepted.streamed:
                ttft_ms = (self._clock() - routed.received_s) * 1e3
            return gathered
        finally:
            if self._averages is not None:
                self._averages.one_request(stakes, ttft_ms)

    async def _reach(self, name: str, routed: Routed, entry: Entry, forward: Headers, stakes: list[Stake]) -> Reached:
        """One of several calls, to its end. A failed one is an answer that did not come, and leaves no stake."""
        attempt = self._begin(name, routed, entry, stream=False)
        try:
            reply = await self._call(name, routed, forward)
            data = await read_whole(name, reply)
        except ExpertError as error:
            attempt.flight.fail(error)
            self._gave_up(attempt, type(error).__name__)
            return Reached(name, None, latency_ms=attempt.after_ms(self._clock()))
        except BaseException:
            # The client left while we waited: only the record is missing.
            self._recorder.landed(routed, attempt, CLIENT_LEFT)
            if attempt.stake is not None:
                stakes.append(attempt.stake)
            raise
        attempt.flight.head(reply.status)
        found = read_reply(name, reply.status, reply.headers, data, streamed=is_stream(routed.inbound, reply))
        if reply.status in _TRY_NEXT:
            attempt.flight.finish()
            self._gave_up(attempt, str(reply.status))
            return replace(found, latency_ms=attempt.after_ms(self._clock()))
        outcome = self._recorder.landed(routed, attempt, reply.status, found.usage)
        if attempt.stake is not None and not failed(reply.status):
            stakes.append(attempt.stake)
        return replace(
            found,
            cost_usd=outcome.cost_usd,
            energy_j=outcome.energy_j,
            latency_ms=attempt.after_ms(self._clock()),
            final=reply.status >= 400,
        )

    async def _try(
        self, routed: Routed, attempt: Attempt, forward: Headers, overhead_s: float, *, last: bool
    ) -> Answer | None:
        """One attempt. None when the next expert should be tried.

        Raises:
            RequestRefused: The attempt failed and no other may follow.
        """
        name = attempt.expert
        try:
            reply = await self._call(name, routed, forward)
            body = None if is_stream(routed.inbound, reply) else await read_whole(name, reply)
        except ExpertError as error:
            attempt.flight.fail(error)
            if error.transient and not last:
                self._gave_up(attempt, type(error).__name__)
                return None
            refusal = refusal_for(error, routed.decision.id)
            _log.warning("%s failed: %s", name, error.message)
            self._recorder.finish(routed, attempt, refusal.status)
            raise refusal from error
        except BaseException:
            # The client left while we waited. The call upstream is cancelled already; only the record is missing.
            self._recorder.finish(routed, attempt, CLIENT_LEFT)
            raise
        attempt.flight.head(reply.status)
        if reply.status in _TRY_NEXT and not last:
            attempt.flight.finish()
            self._gave_up(attempt, str(reply.status))
            await reply.aclose()
            return None
        if reply.status in _OPERATORS_FAULT:
            await reply.aclose()
            attempt.flight.fail(f"HTTP {reply.status}")
            self._recorder.finish(routed, attempt, 502)
            raise RequestRefused(
                Code.EXPERT_BAD_ANSWER,
                f"Expert '{name}' refused the gateway itself (status {reply.status}).",
                reason=Code.EXPERT_MISCONFIGURED.value,
                decision_id=routed.decision.id,
            )
        if routed.session is not None and reply.status < 400 and not self._pool[name].spec.null:
            self._sessions.put(routed.session, name)
        return Answer(self._recorder, routed, attempt, reply, body, overhead_s, self._recording(routed, name))

    def _recording(self, routed: Routed, name: str, belief: float | None = None) -> Recording | None:
        """Keeps the answer once it is complete; None where it is not to be kept."""
        if self._nulls is None or routed.asked is None:
            return None
        return self._nulls.recording(routed.asked, routed.decision, name, belief)

    def _begin(self, name: str, routed: Routed, entry: Entry, *, stream: bool) -> Attempt:
        """A call goes out. A caller who names a model decides alone, and is left out of the average budgets."""
        flight = self._pool.begin(name, stream=stream)
        stake = None
        if self._averages is not None and routed.decision.reason is not Reason.NAMED:
            stake = self._averages.dispatched(routed.decision, name, stream=stream)
        return Attempt(name, flight, entry, self._clock(), stake=stake)

    def _session(self, stated: str | None, tenant: str) -> str | None:
        if stated is None or self._policy.stay_bonus is None:
            return None
        return self._sessions.key(tenant, stated)

    async def _stay(self, session: str) -> Stay | None:
        expert = await self._sessions.previous(session)
        return None if expert is None else Stay(expert, self._policy.stay_bonus or 0.0)

    async def _decide(
        self, request: RouteRequest, tenant: str, earlier: Sequence[str] = (), asked: Asked | None = None
    ) -> tuple[Decision, Hit]:
        """Decide on the prompt, read together with the user turns before it."""
        assessment, hit = await self._assessed(request, tenant)
        if earlier:
            before = [Turn(text, (await self._assessed(replace(request, text=text), tenant))[0]) for text in earlier]
            assessment = recall([*before, Turn(request.text, assessment)])
        if self._nulls is not None and asked is not None:
            request = replace(request, offers=self._nulls.offers(asked, assessment))
        learned = None if self._learning is None else self._learning.corrections
        return self._router.select(assessment, request, self._pool.snapshot(), learned), hit

    async def _assessed(self, request: RouteRequest, tenant: str) -> tuple[Assessment, Hit]:
        """The assessment of a text, from the cache where it is there."""
        cache = self._cache
        if cache is None:
            return await self._assess(request), Hit.BYPASS
        key = cache.key(tenant, self._router.artifact_hash, request.text)
        found = cache.get_local(key)
        if found is not None:
            return found, Hit.LOCAL
        found = await cache.get_shared(key)
        if found is not None:
            return found, Hit.REDIS
        made = await self._assess(request)
        cache.put(key, made)
        return made, Hit.MISS

    async def _assess(self, request: RouteRequest) -> Assessment:
        """On the event loop where it takes a fraction of a millisecond, in a thread where it does not."""
        if self._router.slow:
            return await asyncio.to_thread(self._router.assess, request)
        return self._router.assess(request)

    async def _named(self, request: RouteRequest, tenant: str, name: str, asked: Asked | None) -> tuple[Decision, Hit]:
        """A concrete model bypasses routing, but no cap and no block: these are promises whoever chose the expert."""
        if name not in self._pool:
            known = ", ".join(spec.name for spec in self._pool.specs)
            raise RequestRefused(
                Code.MODEL_NOT_FOUND, f"model: '{name}' is not here; ask for 'auto' or one of: {known}", param="model"
            )
        if request.budget == _NO_BUDGET and request.allowed is None and asked is None:
            router = self._router
            return Decision(request.id, name, (), Reason.NAMED, None, router.id, router.artifact_hash), Hit.BYPASS
        allowed = frozenset({name}) if request.allowed is None else request.allowed & {name}
        decision, hit = await self._decide(replace(request, allowed=allowed), tenant, asked=asked)
        if decision.expert is not None and decision.reason is not Reason.BLOCKED:
            decision = replace(decision, reason=Reason.NAMED)
        return decision, hit

    def _allowed(self, experts: frozenset[str] | None) -> frozenset[str] | None:
        for name in sorted(experts or ()):
            if name not in self._pool:
                raise invalid_budget("routing.experts", f"'{name}' is not in the pool")
        return experts

    async def _call(self, name: str, routed: Routed, forward: Headers) -> ExpertReply:
        expert = self._pool[name]
        inbound = routed.inbound
        return await expert.call(
            ExpertCall(
                request_id=routed.decision.id,
                endpoint=inbound.endpoint,
                body=expert_body(inbound, expert.spec.model),
                payload=inbound.payload,
                stream=inbound.stream,
                headers=forward,
                prepared=None if routed.asked is None else routed.asked.answers.get(name),
            )
        )

    def _gave_up(self, attempt: Attempt, cause: str) -> None:
        self._telemetry.fallbacks.labels(attempt.expert, cause).inc()
        if self._averages is not None and attempt.stake is not None:
            self._averages.given_up(attempt.stake)
        _log.info("%s failed (%s); trying the next expert", attempt.expert, cause)
