"""The calls of a decided request: one expert after another, two in a race, or several whose answers are compared.

Another expert may be asked until the first byte of an answer arrives. After that, nothing switches. Every dispatch
ends in exactly one outcome, whatever happens to its attempts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Final, Protocol

from pointsman.experts.errors import ExpertError
from pointsman.experts.protocols import Headers
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.deciding.evidence_plan import EvidencePlan
from pointsman.gateway.deciding.null_experts import Recording
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.answer import RelayedAnswer
from pointsman.gateway.dispatch.blame import Blame, of_length
from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.dispatch.fallbacks import Fallbacks
from pointsman.gateway.dispatch.gathered_answers import AcceptedAnswer
from pointsman.gateway.dispatch.relay import ClientSide, Relay
from pointsman.gateway.dispatch.reservations import reserve_now, reserve_or_wait
from pointsman.gateway.dispatch.response_head import answer_headers
from pointsman.gateway.errors import CLIENT_LEFT, Code, RequestRefused
from pointsman.gateway.wire.whole_answer import WholeAnswer

_log = logging.getLogger(__name__)

#: A timer of the event loop may fire so much before its time.
_TIMER_SLACK_S: Final = 0.001


class DispatchOwner(Protocol):
    """What a dispatch asks of the exchange that it is part of."""

    @property
    def over(self) -> bool:
        """Whether the response is complete, or nobody waits for it any more."""

    def wait(self, work: Coroutine[None, None, None]) -> None:
        """Go on in a task; a refusal that it raises is the response."""

    def cancel_wait(self) -> None:
        """What is waited for is of no more use."""

    def refuse(self, refusal: RequestRefused) -> None:
        """An error instead of an answer."""

    def on_internal_error(self, error: BaseException) -> None:
        """A bug of ours ends the response."""

    def end(self) -> None:
        """The response is complete."""


class Dispatch:
    """Begins with the first call: from here on the decision is on record.

    Args:
        exchange: What it is part of.
        plane: What it runs on.
        client: Where the answer goes.
        routed: The decided request; its expert is not None.
        forward: Client headers that may travel on.
    """

    __slots__ = (
        "_asked",
        "_client",
        "_entry",
        "_exchange",
        "_fallbacks",
        "_first_refused",
        "_forward",
        "_gathering",
        "_overhead_s",
        "_plane",
        "_routed",
        "_running",
        "_timers",
    )

    def __init__(
        self, exchange: DispatchOwner, plane: DataPlane, client: ClientSide, routed: RoutedRequest, forward: Headers
    ) -> None:
        decision = routed.decision
        self._exchange = exchange
        self._plane = plane
        self._client = client
        self._routed = routed
        self._forward = forward
        self._fallbacks = Fallbacks(plane.pool, (str(decision.expert), *decision.fallbacks), plane.max_attempts)
        self._running: list[Relay] = []
        self._asked: list[Relay] = []  # those that are over, too
        self._timers: list[asyncio.TimerHandle] = []
        self._gathering = False
        self._first_refused: tuple[Relay, WholeAnswer] | None = None
        plane.telemetry.decided(decision, routed.hit)
        if plane.nulls is not None:
            plane.nulls.decided(decision, gathered=routed.evidence is not None)
        self._entry = plane.ledger.record(routed.tenant, decision)
        self._overhead_s = plane.clock() - routed.received_s
        plane.telemetry.overhead_of(self._overhead_s)
        plane.attempts.retries.request()
        if routed.deadline_s is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_at(routed.deadline_s + _TIMER_SLACK_S, self._expire))

    # What the exchange calls.

    def resume(self) -> None:
        """The client took what was waiting: read on."""
        for relay in self._running:
            if relay.carrier is not None:
                relay.carrier.resume()

    def cancel(self, status: int) -> None:
        """Cancel whatever is under way, and account for it."""
        self._stop_timers()
        for relay in self._running:
            self._cancel(relay, status)
        self._running.clear()
        # A gathering that is cancelled accounts for its calls by itself.
        if self._entry.outcome is None and not self._gathering:
            self._plane.attempts.recorder.unanswered(self._routed, self._entry, status)

    def let_go(self) -> None:
        """Something of ours failed: give back what calls may still hold, accounted for or not. Never raises."""
        self._stop_timers()
        for relay in self._asked:
            try:
                relay.let_go()
            except Exception:  # the others are let go whatever happens to one
                _log.exception("a call of %s could not be let go", relay.attempt.expert)
        self._asked.clear()
        self._running.clear()

    def ask(self, reservation: Reservation | None) -> None:
        """Begin an attempt at the next expert.

        Args:
            reservation: What is held for it; None without limits.
        """
        plane, routed = self._plane, self._routed
        name = self._fallbacks.take()
        try:
            attempt = plane.attempts.begin(
                name, routed, self._entry, stream=routed.inbound.stream, reservation=reservation
            )
        except BaseException:  # whatever it was, nothing stays held
            if reservation is not None:
                reservation.release()
            raise
        attempt.rival = bool(self._running)
        most_bytes = plane.max_answer_bytes
        if not attempt.native and plane.max_translated_bytes < most_bytes:
            most_bytes = plane.max_translated_bytes
        relay = Relay(
            self,
            self._client,
            routed.inbound,
            attempt,
            most_bytes,
            plane.first_event_timeout_s,
            plane.large_bodies,
        )
        self._running.append(relay)
        self._asked.append(relay)
        hedging = plane.hedging
        if hedging is not None and self._fallbacks and not attempt.rival and not (reservation and reservation.of_money):
            delay_s = hedging.delay_s(routed.decision, name, stream=routed.inbound.stream)
            self._timers.append(asyncio.get_running_loop().call_later(delay_s, self._hedge, relay))
        try:
            plane.attempts.send(attempt, routed, self._forward, relay)
        except ExpertError as error:
            self.failed(relay, error)

    async def gather(self, plan: EvidencePlan) -> None:
        """Ask several experts and answer with what they agree upon; where none answered, ask on one by one.

        Raises:
            RequestRefused: The limits of the caller have no room for another call.
        """
        plane, routed = self._plane, self._routed
        self._gathering = True
        gathered = await plane.gathering.gather(routed, plan, self._entry, self._forward)
        self._gathering = False
        accepted = gathered.accepted
        if accepted is None:
            # The expert that failed just now comes last.
            self._fallbacks.put_last({call.expert for call in gathered.calls})
            await self._ask_later()
            return
        self._stop_timers()
        if routed.session is not None and accepted.answered:
            plane.attempts.keep_session(routed.session, accepted.expert)
        recordings = self._recordings(accepted.expert, gathered.belief)
        answer = AcceptedAnswer(plane.attempts.recorder, routed, self._entry, gathered, self._overhead_s, recordings)
        headers = answer_headers(routed, answer)
        if answer.streamed:
            self._client.begin(answer.status, headers)
            self._client.write(answer.data)
            self._client.end()
        else:
            self._client.send_whole(answer.status, headers, answer.data)
        self._exchange.end()

    # What a relay calls.

    def accept(self, relay: Relay, whole: WholeAnswer | None) -> RelayedAnswer | None:
        """An attempt's answer goes out: a stream that begins, or a whole one. None where another expert is tried."""
        plane, routed, attempt = self._plane, self._routed, relay.attempt
        said_by = relay
        if whole is not None and whole.error is not None:
            try:
                blame = plane.attempts.blamed(attempt, whole)
                if self._another_may(relay, blame, whole):
                    attempt.flight.finish()
                    plane.attempts.abandon(routed, attempt, str(whole.status), adds_load=blame.adds_load)
                    relay.drop()
                    self._next(relay)
                    return None
                if blame.of_the_request and self._first_refused is not None:
                    # Nobody takes the request as it is: who was asked first had most to say on it.
                    said_by, whole = self._first_refused
                else:
                    plane.attempts.withheld(routed, attempt, blame, whole)
            except RequestRefused as refusal:
                self._refuse(relay, refusal)
                return None
        else:
            plane.attempts.accepts(routed, attempt, relay.status)
        if self._timers or len(self._running) > 1:
            self._accept_first(relay)
        recordings = self._recordings(attempt.expert)
        most_bytes = plane.max_translated_bytes
        expert = said_by.attempt.expert
        answer = RelayedAnswer(
            plane.attempts.recorder, routed, attempt, said_by, whole, most_bytes, self._overhead_s, recordings,
            expert, plane.private.get(expert, ()),
        )  # fmt: skip
        if whole is None:
            self._client.begin(relay.status, answer_headers(routed, answer))
        else:
            relay.drop()
            self._client.send_whole(answer.status, answer_headers(routed, answer), answer.body or b"")
            self.finished()
        return answer

    def finished(self) -> None:
        """The answer went out to its end."""
        self._running.clear()  # they refer to us
        self._asked.clear()
        self._exchange.end()

    def failed(self, relay: Relay, error: ExpertError) -> None:
        """An expert failed, and nothing of its answer went out."""
        relay.over = True
        try:
            self._plane.attempts.failed(self._routed, relay.attempt, error, last=self._last())
        except RequestRefused as refusal:
            self._refuse(relay, refusal)
        else:
            self._next(relay)

    def on_internal_error(self, error: Exception) -> None:
        """The gateway itself failed at an answer."""
        self._exchange.on_internal_error(error)

    # Inside.

    def _another_may(self, relay: Relay, blame: Blame, whole: WholeAnswer) -> bool:
        """Whether another expert is to answer in place of an error."""
        if blame is Blame.CALLER:
            return False
        if blame is Blame.MISMATCH:
            too_long = whole.error is not None and of_length(whole.error)
            self._fallbacks.mismatched(relay.attempt.expert, too_long=too_long)
            if not self._last(retry=False) and self._first_refused is None:
                self._first_refused = relay, whole
        return not self._last(retry=blame.adds_load)

    def _last(self, *, retry: bool = True) -> bool:
        """Whether nobody may be asked after the attempt that fails now, and nobody else is still asked.

        Args:
            retry: Whether the next attempt is a retry; what an expert would never take is not.
        """
        if len(self._running) > 1:
            return False
        return not self._fallbacks or (retry and self._plane.attempts.retries.spent)

    def _next(self, relay: Relay) -> None:
        """Handle a failed attempt: the other attempt of a race continues, else the next expert is asked."""
        self._running.remove(relay)
        if self._running:
            self._running[0].attempt.rival = False
            return
        try:
            self._ask_next()
        except RequestRefused as refusal:
            self._exchange.refuse(refusal)

    def _ask_next(self) -> None:
        """Ask the next expert, once its worst case is held.

        Raises:
            RequestRefused: The limits of the caller have no room for it.
        """
        reservation = None
        if self._routed.caller.account is not None:
            reservation = reserve_now(self._routed, self._plane.pool[self._fallbacks.next].spec)
            if reservation is None:
                self._exchange.wait(self._ask_later())
                return
        self.ask(reservation)

    async def _ask_later(self) -> None:
        """The same, asking the common account of the limits."""
        try:
            reservation = await reserve_or_wait(self._routed, self._plane.pool[self._fallbacks.next].spec)
        except RequestRefused:
            if self._running:
                return  # as in `_hedge`
            raise
        self.ask(reservation)

    def _hedge(self, first: Relay) -> None:
        """The first expert is late: let a second one race it."""
        hedging = self._plane.hedging
        if self._running != [first] or not self._fallbacks or hedging is None or not hedging.allow():
            return
        try:
            self._ask_next()
        except RequestRefused:
            # The limits have no room for a second call; the first one continues.
            return
        except Exception as error:  # a bug of ours, as in `Relay.wake`
            self._exchange.on_internal_error(error)

    def _accept_first(self, relay: Relay) -> None:
        """Handle an attempt that answers: the other attempts are cancelled, and its timers stop."""
        self._stop_timers()
        self._exchange.cancel_wait()
        rivals = [other for other in self._running if other is not relay]
        if rivals and self._plane.hedging is not None:
            self._plane.hedging.settled(won=relay.attempt.rival)
        relay.attempt.rival = False
        for other in rivals:
            relay.attempt.hedged_with = other.attempt.expert
            other.attempt.rival = True
            self._cancel(other, CLIENT_LEFT)
        self._running = [relay]

    def _refuse(self, relay: Relay, refusal: RequestRefused) -> None:
        """An attempt, which is accounted for already, settled the request with an error."""
        relay.drop()
        self._running.remove(relay)
        self._exchange.refuse(refusal)

    def _cancel(self, relay: Relay, status: int) -> None:
        if relay.carrier is not None and not relay.carrier.sent:
            relay.attempt.worked = False
        relay.drop()
        if relay.answer is not None:
            relay.answer.cancelled(status)
            relay.answer = None  # it refers to its relay
        elif relay.attempt.rival or self._entry.outcome is None:
            self._plane.attempts.recorder.cancelled(self._routed, relay.attempt, status)

    def _expire(self) -> None:
        """The deadline has come, and no answer has begun."""
        self._exchange.refuse(
            RequestRefused(
                Code.DEADLINE_EXCEEDED,
                "routing.deadline_ms: no answer began in time.",
                param="routing.deadline_ms",
                decision_id=self._routed.decision.id,
            )
        )

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _recordings(self, expert: str, belief: float | None = None) -> Sequence[Recording]:
        """What keeps the answer, once it is complete."""
        plane, routed = self._plane, self._routed
        kept = compared = None
        if plane.nulls is not None and routed.asked is not None:
            kept = plane.nulls.recording(routed.asked, routed.decision, expert, belief)
        if plane.exploration is not None:
            compared = plane.exploration.recording(routed, expert, self._forward)
        return [recording for recording in (kept, compared) if recording is not None]
