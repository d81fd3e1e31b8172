"""Attempts at experts: how one starts, whether its reply may go to the client, and how it is cancelled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pointsman.experts.errors import ExpertError, ExpertMisconfigured
from pointsman.experts.http1.response import Sink
from pointsman.experts.pool import ExpertPool
from pointsman.experts.protocols import ExpertCall, Headers
from pointsman.experts.pump import sender_of
from pointsman.gateway.access.charge import turned_away
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.blame import Blame, blame_of, for_the_log
from pointsman.gateway.dispatch.expert_call import adds_usage, call_for
from pointsman.gateway.dispatch.retry_budget import RetryBudget
from pointsman.gateway.errors import Code, RequestRefused, refusal_for
from pointsman.gateway.record.ledger import Entry
from pointsman.gateway.record.recorder import Attempt, Recorder
from pointsman.gateway.shared.average_budgets import AverageBudgets
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.expert_errors import StatedError
from pointsman.gateway.wire.whole_answer import WholeAnswer
from pointsman.routers.types import Reason

_log = logging.getLogger(__name__)

#: What the client of a model is told that only the operator can mend.
_REFUSES: Final = {
    Blame.OPERATOR: "refused the gateway itself",
    Blame.CREDIT: "is closed to the gateway until its operator sees to the account",
    Blame.UNCLEAR: "refused the gateway, or the request,",
}
_REDIRECTS: Final = "redirects to another place, where the gateway does not go"
#: As the SDKs of OpenAI and Anthropic read it.
_NO_USE_ASKING_AGAIN: Final[Headers] = ((b"x-should-retry", b"false"),)


class Attempts:
    """Begins attempts and judges what they bring. One per process; holds no state of its own beyond its parts.

    Args:
        pool: The experts.
        recorder: Told how attempts end.
        sessions: Told who answered.
        telemetry: Told who was given up, and why.
        averages: What calls are foreseen to spend; None without average budgets.
        retries: The share of the traffic that further attempts may be.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        pool: ExpertPool,
        recorder: Recorder,
        sessions: Sessions,
        telemetry: Telemetry,
        averages: AverageBudgets | None,
        retries: RetryBudget,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._sessions = sessions
        self._telemetry = telemetry
        self._averages = averages
        self._clock = clock
        self._senders = {expert.spec.name: sender_of(expert) for expert in pool}
        self.recorder = recorder
        self.retries = retries

    def begin(
        self, name: str, routed: RoutedRequest, entry: Entry, *, stream: bool, reservation: Reservation | None
    ) -> Attempt:
        """A call goes out. A caller who names a model decides alone, and is left out of the average budgets."""
        expected_spend = None
        if self._averages is not None and routed.decision.reason is not Reason.NAMED:
            expected_spend = self._averages.dispatched(routed.decision, name, stream=stream)
        translated = routed.inbound.translated
        native = translated is None or translated.spoken_by(self._pool[name].spec)
        # Last of all: who raises here holds no place.
        flight = self._pool.begin(name, stream=stream, prompt_tokens=routed.inbound.prompt_tokens)
        return Attempt(
            name,
            flight,
            entry,
            self._clock(),
            expected_spend=expected_spend,
            reservation=reservation,
            native=native,
            adds_usage=adds_usage(self._pool[name].spec, routed),
        )

    def send(self, attempt: Attempt, routed: RoutedRequest, forward: Headers, sink: Sink) -> None:
        """Send the call, its answer to a sink.

        Raises:
            ExpertError: It cannot be sent.
        """
        self._senders[attempt.expert](self.call_of(attempt, routed, forward), sink)

    def call_of(self, attempt: Attempt, routed: RoutedRequest, forward: Headers) -> ExpertCall:
        """The request as the attempt's expert gets it."""
        spec = self._pool[attempt.expert].spec
        return call_for(spec, routed, forward, self._clock(), with_usage=attempt.adds_usage)

    def answered(self, attempt: Attempt, status: int) -> None:
        """The head of an answer is here."""
        attempt.flight.head(status)
        if status >= 400:
            attempt.worked = not turned_away(status)

    def blamed(self, attempt: Attempt, whole: WholeAnswer) -> Blame:
        """An error came instead of an answer: whose doing it is. The expert's health is told, and the operator."""
        assert whole.error is not None  # noqa: S101  # the caller has seen to it
        status, stated = whole.status, whole.error
        model = self._pool[attempt.expert].spec.model
        blame = blame_of(status, stated, model)
        self.answered(attempt, status)
        flight = attempt.flight
        if blame is Blame.LOAD:
            flight.cancel()
        elif blame is Blame.EXPERT:
            flight.fail(f"HTTP {status}")
        elif blame is Blame.UNCLEAR:
            if flight.refuse(f"HTTP {status}"):
                self._complain(attempt, blame, status, stated, model)
            elif flight.tell_once(f"HTTP {status}"):
                told = for_the_log(status, stated, model)
                _log.warning("expert %s refused a call, or all of the gateway's: %s; said once", attempt.expert, told)
        elif not blame.mends_itself:
            if flight.accuse(f"{blame} {status}"):
                self._complain(attempt, blame, status, stated, model)
            flight.fail(f"HTTP {status}", mends_itself=False)
        return blame

    def withheld(self, routed: RoutedRequest, attempt: Attempt, blame: Blame, whole: WholeAnswer) -> None:
        """No other expert may follow an error: see whether it may go to the client.

        Raises:
            RequestRefused: It is the operator's alone, and may tell of the operator's keys and addresses.
        """
        if blame.adds_load:
            self._passed_on(routed, attempt)
        wordless = blame is Blame.UNCLEAR and whole.error is not None and not whole.error.message
        if blame.mends_itself and not wordless:
            return
        does = _REFUSES[blame] if whole.status >= 400 else _REDIRECTS
        refusal = RequestRefused(
            Code.EXPERT_BAD_ANSWER,
            f"Expert '{attempt.expert}' {does} (status {whole.status}).",
            reason=Code.EXPERT_MISCONFIGURED.value,
            decision_id=routed.decision.id,
            notes=_NO_USE_ASKING_AGAIN,
        )
        self.recorder.finish(routed, attempt, refusal.status)
        raise refusal

    def accepts(self, routed: RoutedRequest, attempt: Attempt, status: int) -> None:
        """An answer goes to the client."""
        attempt.flight.head(status)
        if status < 400 and routed.session is not None and not self._pool[attempt.expert].spec.null:
            self.keep_session(routed.session, attempt.expert)

    def keep_session(self, session: str, expert: str) -> None:
        """Record the expert that answered: the session's next turn gains by staying with it."""
        self._sessions.put(session, expert)

    def failed(self, routed: RoutedRequest, attempt: Attempt, error: ExpertError, *, last: bool) -> None:
        """An expert failed before the first byte of its answer went to the client; the next one is to be tried.

        Raises:
            RequestRefused: No other expert may follow.
        """
        if isinstance(error, ExpertMisconfigured) and attempt.flight.accuse(error.message):
            _log.error("expert %s cannot work as configured: %s", attempt.expert, error.message)
        attempt.flight.fail(error)
        attempt.worked = error.sent
        if error.transient and not last:
            self.abandon(routed, attempt, type(error).__name__)
            return
        self._passed_on(routed, attempt)
        refusal = refusal_for(error, routed.decision.id)
        _log.warning("%s failed: %s", attempt.expert, error.message)
        self.recorder.finish(routed, attempt, refusal.status)
        raise refusal from error

    def abandon(self, routed: RoutedRequest, attempt: Attempt, cause: str, *, adds_load: bool = True) -> None:
        """An attempt came to nothing, and another one follows.

        Args:
            routed: The request.
            attempt: The attempt.
            cause: What became of it.
            adds_load: Whether the next one is a retry. Else the first one has done nothing and would never have, and
                the next one follows even where no retry is left.
        """
        if adds_load or not self.retries.spent:
            self.retries.take()
        self.recorder.charged(routed, attempt)
        self._telemetry.fallbacks.labels(attempt.expert, cause).inc()
        if self._averages is not None and attempt.expected_spend is not None:
            self._averages.given_up(attempt.expected_spend)
        _log.info("%s failed (%s); trying the next expert", attempt.expert, cause)

    @staticmethod
    def _complain(attempt: Attempt, blame: Blame, status: int, stated: StatedError, model: str) -> None:
        """Tell the operator what nobody else can mend."""
        _log.error(
            "expert %s %s: %s. Left out until a call goes well; said once",
            attempt.expert,
            {Blame.CREDIT: "is out of credit", Blame.OPERATOR: "refuses the gateway's key, model or address"}.get(
                blame, "refuses one call after the other"
            ),
            for_the_log(status, stated, model),
        )

    def _passed_on(self, routed: RoutedRequest, attempt: Attempt) -> None:
        """A failure goes to the client; where only the retry budget had it so, that is counted."""
        if routed.decision.fallbacks and self.retries.spent:
            self._telemetry.retries_refused.labels(attempt.expert).inc()
