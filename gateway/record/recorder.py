"""The recorder: each request that reached an expert ends in one outcome, written to the ledger and to telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from pointsman.experts.flight import Flight
from pointsman.experts.pool import ExpertPool
from pointsman.experts.spec import Source, Usage
from pointsman.gateway.access.charge import charge_of, settle
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.errors import CLIENT_LEFT
from pointsman.gateway.record.ledger import Entry, Ledger
from pointsman.gateway.shared.average_budgets import AverageBudgets, ExpectedSpend
from pointsman.gateway.shared.conversation_memory import ConversationMemory
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.turn_recording import TurnRecording
from pointsman.routers.outcomes import CallOutcome, Outcome, Verdict


@dataclass(slots=True)
class Attempt:
    """How one expert fares with one request.

    Attributes:
        expert: Its name.
        flight: Its call in the pool's counters.
        entry: The ledger's entry of the decision.
        dispatched_s: When the call was sent (monotonic).
        first_byte_s: When the first byte of the answer was here; None before.
        expected_spend: What it was foreseen to spend of the average budgets; None where it counts in none.
        hedged_with: Another expert that was asked at the same time; empty where none was.
        rival: Whether another attempt settles the request: this one lost, or has not won yet.
        reservation: What is held for it; None without limits.
        native: Whether the expert answers as the client expects; if not, its answer is translated.
        adds_usage: Whether the expert is asked for the token counts of a stream on behalf of the client.
        worked: Whether the expert may have worked on it.
        sent_twice: Whether the expert may have got it, closed the connection, and got it again.
    """

    expert: str
    flight: Flight
    entry: Entry
    dispatched_s: float
    first_byte_s: float | None = None
    expected_spend: ExpectedSpend | None = None
    hedged_with: str = ""
    rival: bool = False
    reservation: Reservation | None = None
    native: bool = True
    adds_usage: bool = False
    worked: bool = True
    sent_twice: bool = False

    def after_ms(self, moment_s: float) -> float:
        """Milliseconds from the dispatch to a moment."""
        return (moment_s - self.dispatched_s) * 1e3


class Recorder:
    """Turns the end of an attempt into an `Outcome`."""

    def __init__(
        self,
        *,
        pool: ExpertPool,
        ledger: Ledger,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        memory: ConversationMemory,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._made = memory.made
        self._turns = memory.turns
        self._ledger = ledger
        self._telemetry = telemetry
        self._averages = averages
        self.clock = clock

    def first_byte(self, attempt: Attempt) -> None:
        """The answer's first byte is here."""
        if attempt.first_byte_s is None:
            attempt.first_byte_s = self.clock()
            attempt.flight.first_byte()
            if self._averages is not None and attempt.expected_spend is not None:
                self._averages.first_token(attempt.expected_spend, attempt.after_ms(attempt.first_byte_s))

    def finish(
        self,
        routed: RoutedRequest,
        attempt: Attempt,
        status: int,
        usage: Usage | None = None,
        *,
        complete: bool = True,
    ) -> None:
        """The attempt that settled the request is over.

        Args:
            routed: The request.
            attempt: The attempt. Its flight has failed already where the expert is at fault; else it lands here.
            status: What the client saw.
            usage: As the expert reported it.
            complete: Whether that is of the whole answer.
        """
        outcome = self.call_ended(routed, attempt, status, usage, complete=complete)
        self._ledger.finish(attempt.entry, outcome)
        self._telemetry.finished(routed.inbound.asked.value, outcome)

    def remember_ids(self, routed: RoutedRequest, expert: str, ids: Iterable[str]) -> None:
        """An answer brought ids that its tenant may name from now on.

        None that its own request holds: some servers let a client choose what an answer is called, and then it could
        choose what another tenant's is called.
        """
        asked: bytes | None = None
        for one in ids:
            if asked is None:
                translated = routed.inbound.translated
                asked = orjson.dumps(routed.inbound.payload if translated is None else translated.payload)
            if orjson.dumps(one)[1:-1] not in asked or self._made.knows(routed.tenant, one):
                self._made.made(routed.tenant, one, expert)

    def turn_recording(self, routed: RoutedRequest) -> TurnRecording | None:
        """What keeps the turn of a request whose answer is translated; None where it is not to be kept."""
        asked = routed.inbound.translated
        if asked is None or not asked.to_be_kept or not self._turns.fits(len(asked.body)):
            return None
        asked.kept = True
        return TurnRecording(asked, partial(self._turns.put, routed.tenant))

    def cancelled(self, routed: RoutedRequest, attempt: Attempt, status: int) -> None:
        """The attempt was cancelled before its answer came: the client left, time ran out, or another was quicker."""
        if attempt.rival:
            self.call_ended(routed, attempt, CLIENT_LEFT)
        else:
            attempt.flight.cancel()
            self.finish(routed, attempt, status)

    def unanswered(self, routed: RoutedRequest, entry: Entry, status: int) -> None:
        """The request ended between two calls: those that were made are over, and the next one had not begun."""
        outcome = Outcome(
            decision_id=routed.decision.id,
            expert=str(routed.decision.expert),
            status=status,
            latency_ms=(self.clock() - routed.received_s) * 1e3,
        )
        self._ledger.finish(entry, outcome)
        self._telemetry.finished(routed.inbound.asked.value, outcome)

    def charged(
        self, routed: RoutedRequest, attempt: Attempt, usage: Usage | None = None, *, complete: bool = True
    ) -> tuple[Usage | None, bool]:
        """One call is over: its caller is charged for it.

        Arguments as `finish`.

        Returns:
            Its tokens as far as they are known, and whether the expert reported what cannot be.
        """
        reservation = attempt.reservation
        if usage is None and reservation is None:
            return None, False
        spec = self._pool[attempt.expert].spec
        charge = charge_of(
            spec,
            routed.inbound,
            usage,
            complete=complete,
            worked=attempt.worked,
            heard_tokens=0 if reservation is None else reservation.heard_tokens,
        )
        if reservation is not None:
            settle(
                reservation, spec, charge, before=charge_of(spec, routed.inbound, None) if attempt.sent_twice else None
            )
            self._telemetry.charged(attempt.expert, charge.basis)
        if charge.implausible:
            self._telemetry.implausible_usage.labels(attempt.expert).inc()
        return charge.known, charge.implausible

    def call_ended(
        self,
        routed: RoutedRequest,
        attempt: Attempt,
        status: int,
        usage: Usage | None = None,
        *,
        complete: bool = True,
    ) -> Outcome:
        """One call is over, whether it settles the request or not; the average budgets hear what it spent.

        Arguments as `finish`.
        """
        usage, implausible = self.charged(routed, attempt, usage, complete=complete)
        if status == CLIENT_LEFT:
            attempt.flight.cancel()
        else:
            attempt.flight.finish(usage)
        spec = self._pool[attempt.expert].spec
        cost_usd, energy_j = spec.cost_usd(usage), spec.energy_j(usage)
        # However the model was fitted, applied to this call it is an estimate.
        energy_source = None if energy_j is None else Source.ESTIMATED
        first_byte_s = attempt.first_byte_s
        outcome = Outcome(
            decision_id=routed.decision.id,
            expert=attempt.expert,
            status=status,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            cache_write_tokens=usage.cache_write_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            cost_usd=cost_usd,
            energy_j=energy_j,
            energy_source=energy_source,
            ttft_ms=None if first_byte_s is None else attempt.after_ms(first_byte_s),
            latency_ms=(self.clock() - routed.received_s) * 1e3,
            usage_implausible=implausible,
        )
        if self._averages is not None and attempt.expected_spend is not None:
            self._averages.finished(attempt.expected_spend, outcome, worked=attempt.worked)
        return outcome

    def gathered(
        self, routed: RoutedRequest, entry: Entry, expert: str, calls: tuple[CallOutcome, ...], status: int
    ) -> None:
        """Several calls settled the request: one outcome, which spent what all of them did.

        Args:
            routed: The request.
            entry: The ledger's entry of the decision.
            expert: Whose answer the client gets; the first one asked when the client left before.
            calls: All that were made; their flights have landed.
            status: What the client saw.
        """
        accepted = next((call for call in calls if call.verdict is Verdict.ACCEPTED), None)
        energy_j = _total([call.energy_j for call in calls])
        latency_ms = (self.clock() - routed.received_s) * 1e3
        outcome = Outcome(
            decision_id=routed.decision.id,
            expert=expert,
            status=status,
            prompt_tokens=None if accepted is None else accepted.prompt_tokens,
            completion_tokens=None if accepted is None else accepted.completion_tokens,
            cached_tokens=None if accepted is None else accepted.cached_tokens,
            cache_write_tokens=None if accepted is None else accepted.cache_write_tokens,
            reasoning_tokens=None if accepted is None else accepted.reasoning_tokens,
            cost_usd=_total([call.cost_usd for call in calls]),
            energy_j=energy_j,
            energy_source=None if energy_j is None else Source.ESTIMATED,
            # Nothing is streamed before an answer is accepted.
            ttft_ms=latency_ms,
            latency_ms=latency_ms,
            calls=calls,
            usage_implausible=any(call.usage_implausible for call in calls),
        )
        self._ledger.finish(entry, outcome)
        self._telemetry.finished(routed.inbound.asked.value, outcome)

    def broken(self, expert: str) -> None:
        """A stream was broken off by its expert."""
        self._telemetry.broken_streams.labels(expert).inc()


def _total(amounts: Sequence[float | None]) -> float | None:
    """The sum; None where one of them is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None
