"""What became of a request: one outcome, told to the ledger and to telemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from experts.flight import Flight
from experts.pool import ExpertPool
from experts.spec import Source, Usage
from gateway.average_budgets import AverageBudgets, Stake
from gateway.cache import Hit
from gateway.caller import Caller
from gateway.errors import CLIENT_LEFT
from gateway.evidence_plan import Plan
from gateway.ledger import Entry, Ledger
from gateway.limits import Hold
from gateway.null_experts import Asked
from gateway.sessions import Sessions
from gateway.telemetry import Telemetry
from gateway.wire.caching import ANYTHING, Caching
from gateway.wire.request import Inbound
from gateway.worst_case import settle
from routers.outcomes import CallOutcome, Outcome, Verdict
from routers.types import Decision


# Made for every request, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True, eq=False)
class Routed:
    """A decided request, before its dispatch.

    Attributes:
        inbound: The parsed request.
        caller: Who asks.
        decision: Who answers.
        hit: How the decision cache fared.
        received_s: When the request's last byte was in (monotonic).
        session: Key of the caller's session, None without one.
        asked: What the null experts have to say of it; None where they have no say.
        evidence: Whom to ask until an answer is accepted; None where the chosen expert alone answers.
        caching: What the caller allows to be kept.
        deadline_s: When the first byte of its answer is of no more use (monotonic); None without a deadline.
        hold: What is held for the chosen expert until it is called; None without limits.
        counted: Whether the request counts against the limits already.
    """

    inbound: Inbound
    caller: Caller
    decision: Decision
    hit: Hit
    received_s: float
    session: str | None = None
    asked: Asked | None = None
    evidence: Plan | None = None
    caching: Caching = ANYTHING
    deadline_s: float | None = None
    hold: Hold | None = None
    counted: bool = False

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.caller.tenant

    def let_go(self) -> None:
        """No call follows: nothing is held any more. Idempotent."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold.cancel()


@dataclass(slots=True)
class Attempt:
    """How one expert fares with one request.

    Attributes:
        expert: Its name.
        flight: Its call in the pool's counters.
        entry: The ledger's entry of the decision.
        dispatched_s: When the call was sent (monotonic).
        first_byte_s: When the first byte of the answer was here; None before.
        stake: What it was foreseen to spend of the average budgets; None where it counts in none.
        beside: Another expert that was asked at the same time; empty where none was.
        rival: Whether another attempt settles the request: this one lost, or has not won yet.
        hold: What is held for it; None without limits.
        native: Whether the expert answers as the client expects; if not, its answer is translated.
    """

    expert: str
    flight: Flight
    entry: Entry
    dispatched_s: float
    first_byte_s: float | None = None
    stake: Stake | None = None
    beside: str = ""
    rival: bool = False
    hold: Hold | None = None
    native: bool = True

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
        sessions: Sessions,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._sessions = sessions
        self._ledger = ledger
        self._telemetry = telemetry
        self._averages = averages
        self.clock = clock

    def first_byte(self, attempt: Attempt) -> None:
        """The answer's first byte is here."""
        if attempt.first_byte_s is None:
            attempt.first_byte_s = self.clock()
            attempt.flight.first_byte()
            if self._averages is not None and attempt.stake is not None:
                self._averages.first_token(attempt.stake, attempt.after_ms(attempt.first_byte_s))

    def finish(self, routed: Routed, attempt: Attempt, status: int, usage: Usage | None = None) -> None:
        """The attempt that settled the request is over.

        Args:
            routed: The request.
            attempt: The attempt. Its flight has failed already where the expert is at fault; else it lands here.
            status: What the client saw.
            usage: As the expert reported it.
        """
        outcome = self.landed(routed, attempt, status, usage)
        self._ledger.finish(attempt.entry, outcome)
        self._telemetry.finished(routed.inbound.asked.value, outcome)

    def made(self, routed: Routed, expert: str, ids: Iterable[str]) -> None:
        """An answer holds what its expert alone can go on from."""
        for one in ids:
            self._sessions.put(Sessions.made_key(routed.tenant, one), expert)

    def left(self, routed: Routed, attempt: Attempt) -> None:
        """The attempt was cancelled before its answer came: the client left, time ran out, or another was quicker."""
        if attempt.rival:
            self.landed(routed, attempt, CLIENT_LEFT)
            return
        late = routed.deadline_s is not None and self.clock() >= routed.deadline_s
        attempt.flight.cancel()
        self.finish(routed, attempt, 504 if late else CLIENT_LEFT)

    def landed(self, routed: Routed, attempt: Attempt, status: int, usage: Usage | None = None) -> Outcome:
        """One call is over, whether it settles the request or not; the average budgets hear what it spent.

        Arguments as `finish`.
        """
        if status == CLIENT_LEFT:
            attempt.flight.cancel()
        else:
            attempt.flight.finish(usage.completion_tokens if usage else None)
        spec = self._pool[attempt.expert].spec
        cost_usd = energy_j = energy_source = None
        if usage is not None and spec.price is not None:
            cost_usd = spec.price.cost_usd(usage.prompt_tokens, usage.completion_tokens)
        if usage is not None and spec.energy is not None:
            energy_j = spec.energy.energy_j(usage.prompt_tokens, usage.completion_tokens)
            # However the model was fitted, applied to this call it is an estimate.
            energy_source = Source.ESTIMATED
        if attempt.hold is not None:
            settle(attempt.hold, spec, routed.inbound, status, usage)
        first_byte_s = attempt.first_byte_s
        outcome = Outcome(
            decision_id=routed.decision.id,
            expert=attempt.expert,
            status=status,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            cost_usd=cost_usd,
            energy_j=energy_j,
            energy_source=energy_source,
            ttft_ms=None if first_byte_s is None else attempt.after_ms(first_byte_s),
            latency_ms=(self.clock() - routed.received_s) * 1e3,
        )
        if self._averages is not None and attempt.stake is not None:
            self._averages.finished(attempt.stake, outcome)
        return outcome

    def gathered(self, routed: Routed, entry: Entry, expert: str, calls: tuple[CallOutcome, ...], status: int) -> None:
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
            cost_usd=_total([call.cost_usd for call in calls]),
            energy_j=energy_j,
            energy_source=None if energy_j is None else Source.ESTIMATED,
            # Nothing is streamed before an answer is accepted.
            ttft_ms=latency_ms,
            latency_ms=latency_ms,
            calls=calls,
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
