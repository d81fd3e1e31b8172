"""The way of one request, with no HTTP in it: decide, dispatch with fallbacks, hand on the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from experts.errors import ExpertError
from experts.pool import ExpertPool
from experts.protocols import ExpertCall, Headers, ImmediateExpert
from gateway.allowance import Allowance
from gateway.answer import PulledAnswer
from gateway.average_budgets import AverageBudgets, Stake, failed
from gateway.deciding import Decider
from gateway.eligibility import counts_tokens
from gateway.errors import CLIENT_LEFT, Code, RequestRefused, refusal_for
from gateway.evidence import Evidence
from gateway.evidence_plan import Plan
from gateway.gathered import Gathered, GatheredAnswer, Reached, read_reply
from gateway.hedging import Entrant, Found, Hedging, begun
from gateway.holding import afford, hold_now
from gateway.ledger import Entry, Ledger
from gateway.limits import Hold
from gateway.null_experts import NullExperts, Recording
from gateway.outbound import call_for
from gateway.recorder import Attempt, Recorder, Routed
from gateway.refusals import refusal_of
from gateway.sessions import Sessions
from gateway.telemetry import Telemetry
from gateway.whole_reply import is_stream, read_whole
from routers.types import Reason

_log = logging.getLogger(__name__)

#: Statuses after which another expert may do better: load, outages, and an expert that is set up wrongly.
_TRY_NEXT: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})
#: Of these the client can make nothing: they speak of the operator's credentials or model names.
_OPERATORS_FAULT: Final = frozenset({401, 403, 404})


# Made for every request, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True, eq=False)
class Departure:
    """A decided request on its way to an expert.

    Attributes:
        routed: The request.
        entry: The ledger's entry of the decision.
        names: The experts that may still be tried, in this order.
        overhead_s: From the last byte of the request to its first dispatch.
    """

    routed: Routed
    entry: Entry
    names: tuple[str, ...]
    overhead_s: float


class Pipeline:
    """Decides and dispatches. One per process; holds no state of its own beyond its parts."""

    def __init__(
        self,
        *,
        pool: ExpertPool,
        decider: Decider,
        sessions: Sessions,
        ledger: Ledger,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        nulls: NullExperts | None,
        evidence: Evidence,
        retries: Allowance,
        hedging: Hedging | None,
        max_attempts: int,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self.decider = decider
        self._sessions = sessions
        self._ledger = ledger
        self._telemetry = telemetry
        self._averages = averages
        self._nulls = nulls
        self._evidence = evidence
        self._retries = retries
        self._hedging = hedging
        self._max_attempts = max_attempts
        self._clock = clock
        self._immediate = {expert.spec.name: expert for expert in pool if isinstance(expert, ImmediateExpert)}
        self.recorder = Recorder(
            pool=pool, ledger=ledger, telemetry=telemetry, averages=averages, sessions=sessions, clock=clock
        )

    def depart(self, routed: Routed) -> Departure:
        """Put a decided request on its way.

        Raises:
            RequestRefused: No expert is admissible, or the caller has spent what it may.
        """
        decision = routed.decision
        if decision.expert is None:
            raise refusal_of(decision)
        hold_now(routed, self._pool[decision.expert].spec)
        if self._nulls is not None:
            self._nulls.decided(decision, gathered=routed.evidence is not None)
        entry = self._ledger.record(routed.tenant, decision)
        overhead_s = self._clock() - routed.received_s
        self._retries.request()
        self._telemetry.overhead_of(overhead_s)
        return Departure(routed, entry, (decision.expert, *decision.fallbacks)[: self._max_attempts], overhead_s)

    def overtaken(self, departure: Departure) -> bool:
        """Whether the chosen expert was filled by others between the decision and the call: it is to be made anew."""
        chosen = departure.routed.decision.expert
        return departure.routed.evidence is None and chosen == departure.names[0] and not self._pool.has_room(chosen)

    async def answer(self, departure: Departure, forward: Headers) -> PulledAnswer | GatheredAnswer:
        """Dispatch to the chosen expert, then to its fallbacks, until one answers.

        Args:
            departure: The decided request.
            forward: Client headers that may travel on.

        Returns:
            An answer whose head is here. Close it in every case.

        Raises:
            RequestRefused: None of the experts tried answered, or not before the deadline.
        """
        deadline_s = departure.routed.deadline_s
        if deadline_s is None:
            return await self._answer(departure, forward)
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock())):
                return await self._answer(departure, forward)
        except TimeoutError:
            raise RequestRefused(
                Code.DEADLINE_EXCEEDED,
                "routing.deadline_ms: no answer began in time.",
                param="routing.deadline_ms",
                decision_id=departure.routed.decision.id,
            ) from None

    async def _answer(self, departure: Departure, forward: Headers) -> PulledAnswer | GatheredAnswer:
        routed, names = departure.routed, departure.names
        if routed.evidence is not None:
            gathered = await self._gather(routed, routed.evidence, departure.entry, forward)
            if gathered.accepted is not None:
                if routed.session is not None and gathered.accepted.answered:
                    self._sessions.put(routed.session, gathered.accepted.expert)
                recording = self._recording(routed, gathered.accepted.expert, gathered.belief)
                return GatheredAnswer(self.recorder, routed, departure.entry, gathered, departure.overhead_s, recording)
            # Whoever failed just now comes last.
            failed = {call.expert for call in gathered.calls}
            decision = routed.decision
            names = (str(decision.expert), *decision.fallbacks)
            names = tuple(sorted(names, key=lambda name: name in failed))[: self._max_attempts]
        while True:
            found, names = await self._found(departure, names, forward)
            if found is not None:
                recording = self._recording(routed, found.attempt.expert)
                return PulledAnswer(
                    self.recorder, routed, found.attempt, found.reply, found.body, departure.overhead_s, recording
                )

    async def _found(
        self, departure: Departure, names: tuple[str, ...], forward: Headers
    ) -> tuple[Found | None, tuple[str, ...]]:
        """Ask the next expert, or two where the first one is late.

        Returns:
            Its answer, None when another is to be tried; and who is left to be.

        Raises:
            RequestRefused: Nobody is left.
        """
        routed, stream = departure.routed, departure.routed.inbound.stream

        async def ask(attempt: Attempt, last: Callable[[], bool]) -> Found | None:
            return await self._try(routed, attempt, forward, last)

        hold = await afford(routed, self._pool[names[0]].spec)
        if not self.hedges(names) or self._hedging is None or (hold is not None and hold.of_money):
            attempt = self.begin(names[0], routed, departure.entry, stream=stream, hold=hold)
            return await ask(attempt, lambda: self.last_of(names)), names[1:]

        def enter(name: str, last: Callable[[], bool]) -> Entrant:
            held = hold if name == names[0] else None
            attempt = self.begin(name, routed, departure.entry, stream=stream, hold=held)
            return Entrant(attempt, asyncio.create_task(ask(attempt, last), name=f"ask {name}"))

        delay_s = self._hedging.delay_s(routed.decision, names[0], stream=stream)
        return await self._hedging.race(names, delay_s, enter)

    def hedges(self, names: tuple[str, ...]) -> bool:
        """Whether a second expert may be asked while the first one is."""
        return self._hedging is not None and len(names) > 1

    def last_of(self, names: tuple[str, ...]) -> bool:
        """Whether nobody may be asked after the first of these: there is no other, or too much was asked again."""
        return len(names) == 1 or self._retries.spent

    def begin(self, name: str, routed: Routed, entry: Entry, *, stream: bool, hold: Hold | None) -> Attempt:
        """A call goes out. A caller who names a model decides alone, and is left out of the average budgets."""
        flight = self._pool.begin(name, stream=stream)
        stake = None
        if self._averages is not None and routed.decision.reason is not Reason.NAMED:
            stake = self._averages.dispatched(routed.decision, name, stream=stream)
        foreign = routed.inbound.foreign
        native = foreign is None or foreign.spoken_by(self._pool[name].spec)
        return Attempt(name, flight, entry, self._clock(), stake=stake, hold=hold, native=native)

    def accepts(self, routed: Routed, attempt: Attempt, status: int, *, last: bool) -> bool:
        """Whether an answer's head lets it through to the client; if not, the next expert is to be tried.

        Raises:
            RequestRefused: It must not reach the client, and no other expert may follow.
        """
        attempt.flight.head(status)
        if status in _TRY_NEXT and not last:
            attempt.flight.finish()
            self._gave_up(attempt, str(status))
            return False
        if status in _TRY_NEXT:
            self._passed_on(routed, attempt)
        if status in _OPERATORS_FAULT:
            attempt.flight.fail(f"HTTP {status}")
            self.recorder.finish(routed, attempt, 502)
            raise RequestRefused(
                Code.EXPERT_BAD_ANSWER,
                f"Expert '{attempt.expert}' refused the gateway itself (status {status}).",
                reason=Code.EXPERT_MISCONFIGURED.value,
                decision_id=routed.decision.id,
            )
        if routed.session is not None and status < 400 and not self._pool[attempt.expert].spec.null:
            self._sessions.put(routed.session, attempt.expert)
        return True

    def failed(self, routed: Routed, attempt: Attempt, error: ExpertError, *, last: bool) -> None:
        """An expert failed before the first byte of its answer went to the client; the next one is to be tried.

        Raises:
            RequestRefused: No other expert may follow.
        """
        attempt.flight.fail(error)
        if error.transient and not last:
            self._gave_up(attempt, type(error).__name__)
            return
        self._passed_on(routed, attempt)
        refusal = refusal_for(error, routed.decision.id)
        _log.warning("%s failed: %s", attempt.expert, error.message)
        self.recorder.finish(routed, attempt, refusal.status)
        raise refusal from error

    def withdraw(self, routed: Routed, attempt: Attempt) -> None:
        """The call never reached its expert: it counts for nothing, and what was held is held for the next."""
        attempt.flight.cancel()
        routed.hold = attempt.hold
        if self._averages is not None and attempt.stake is not None:
            self._averages.given_up(attempt.stake)

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
            self.recorder.gathered(routed, entry, expert, left.outcomes(), CLIENT_LEFT)
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
        try:
            hold = await afford(routed, self._pool[name].spec)
        except RequestRefused:
            return Reached(name, None)
        attempt = self.begin(name, routed, entry, stream=False, hold=hold)
        try:
            reply = await self._pool[name].call(self.call_of(name, routed, forward))
            data = await read_whole(name, reply)
        except ExpertError as error:
            attempt.flight.fail(error)
            self._gave_up(attempt, type(error).__name__)
            return Reached(name, None, latency_ms=attempt.after_ms(self._clock()))
        except BaseException:
            # The client left while we waited: only the record is missing.
            self.recorder.landed(routed, attempt, CLIENT_LEFT)
            if attempt.stake is not None:
                stakes.append(attempt.stake)
            raise
        attempt.flight.head(reply.status)
        found = read_reply(name, reply.status, reply.headers, data, streamed=is_stream(routed.inbound, reply))
        if reply.status in _TRY_NEXT:
            attempt.flight.finish()
            self._gave_up(attempt, str(reply.status))
            return replace(found, latency_ms=attempt.after_ms(self._clock()))
        outcome = self.recorder.landed(routed, attempt, reply.status, found.usage)
        if attempt.stake is not None and not failed(reply.status):
            stakes.append(attempt.stake)
        return replace(
            found,
            cost_usd=outcome.cost_usd,
            energy_j=outcome.energy_j,
            latency_ms=attempt.after_ms(self._clock()),
            final=reply.status >= 400,
        )

    async def _try(self, routed: Routed, attempt: Attempt, forward: Headers, last: Callable[[], bool]) -> Found | None:
        """One attempt. None when the next expert should be tried; `last` says whether none may be.

        Raises:
            RequestRefused: The attempt failed and no other may follow.
        """
        name = attempt.expert
        try:
            reply = await self._pool[name].call(self.call_of(name, routed, forward))
            body = None if is_stream(routed.inbound, reply) else await read_whole(name, reply)
            if body is None and (routed.deadline_s is not None or self._hedging is not None):
                # Until its first byte is here, a stream can still be given up for another one.
                reply = await begun(name, reply)
        except ExpertError as error:
            self.failed(routed, attempt, error, last=last())
            return None
        except BaseException:
            # Nobody waits for it any more. The call upstream is cancelled already; only the record is missing.
            self.recorder.left(routed, attempt)
            raise
        try:
            accepted = self.accepts(routed, attempt, reply.status, last=reply.status in _TRY_NEXT and last())
        except RequestRefused:
            await reply.aclose()
            raise
        if not accepted:
            await reply.aclose()
            return None
        return Found(attempt, reply, body)

    def _recording(self, routed: Routed, name: str, belief: float | None = None) -> Recording | None:
        """Keeps the answer once it is complete; None where it is not to be kept."""
        if self._nulls is None or routed.asked is None:
            return None
        return self._nulls.recording(routed.asked, routed.decision, name, belief)

    def call_of(self, name: str, routed: Routed, forward: Headers) -> ExpertCall:
        """The request as an expert gets it."""
        return call_for(self._pool[name].spec, routed, forward, self._clock())

    def counts(self, name: str) -> bool:
        """As `counts_tokens`, in the pool."""
        return counts_tokens(self._pool, name)

    def immediate(self, name: str) -> ImmediateExpert | None:
        """The expert, where it can be called without waiting."""
        expert = self._immediate.get(name)
        return None if expert is None or not expert.ready else expert

    def _passed_on(self, routed: Routed, attempt: Attempt) -> None:
        """A failure goes to the client; where only the retry budget had it so, that is counted."""
        if routed.decision.fallbacks and self._retries.spent:
            self._telemetry.retries_refused.labels(attempt.expert).inc()

    def _gave_up(self, attempt: Attempt, cause: str) -> None:
        self._retries.take()
        if attempt.hold is not None:
            attempt.hold.release()
        self._telemetry.fallbacks.labels(attempt.expert, cause).inc()
        if self._averages is not None and attempt.stake is not None:
            self._averages.given_up(attempt.stake)
        _log.info("%s failed (%s); trying the next expert", attempt.expert, cause)
