"""The calls of a request that asks several experts: made in parallel, each read to its end, then compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pointsman.experts.errors import ExpertError
from pointsman.experts.pool import ExpertPool
from pointsman.experts.protocols import Headers
from pointsman.gateway.deciding.evidence_plan import EvidencePlan
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.attempts import Attempts
from pointsman.gateway.dispatch.blame import Blame
from pointsman.gateway.dispatch.evidence_gatherer import EvidenceGatherer
from pointsman.gateway.dispatch.gathered_answers import CallResult, GatheredAnswers, read_reply, usage_of
from pointsman.gateway.dispatch.reservations import let_go, reserve_or_wait
from pointsman.gateway.dispatch.whole_reply import is_stream, read_whole, with_json_type
from pointsman.gateway.errors import CLIENT_LEFT, RequestRefused
from pointsman.gateway.record.ledger import Entry
from pointsman.gateway.record.recorder import Attempt
from pointsman.gateway.shared.average_budgets import AverageBudgets, ExpectedSpend
from pointsman.gateway.wire.expert_errors import client_error
from pointsman.gateway.wire.large_bodies import LargeBodies
from pointsman.gateway.wire.whole_answer import failure_in


class FanOut:
    """Asks experts and compares what they answer. One per process.

    Args:
        pool: The experts.
        attempts: Begins the calls.
        evidence: Says which expert to ask next, and which answer is accepted.
        averages: Told what all calls of a request spent; None without average budgets.
        most_bytes: Largest answer.
        large_bodies: Reads what is large.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        pool: ExpertPool,
        attempts: Attempts,
        evidence: EvidenceGatherer,
        averages: AverageBudgets | None,
        most_bytes: int,
        large_bodies: LargeBodies,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._attempts = attempts
        self._recorder = attempts.recorder
        self._evidence = evidence
        self._averages = averages
        self._most_bytes = most_bytes
        self._large_bodies = large_bodies
        self._clock = clock

    async def gather(
        self, routed: RoutedRequest, plan: EvidencePlan, entry: Entry, forward: Headers
    ) -> GatheredAnswers:
        """Ask until an answer is accepted, or nobody is left to ask.

        Args:
            routed: The request.
            plan: The experts to ask.
            entry: The ledger's entry of the decision.
            forward: Client headers that may travel on.
        """
        done: list[CallResult] = []
        expected_spends: list[ExpectedSpend] = []
        ttft_ms = None

        async def call(name: str) -> CallResult:
            try:
                found = await self._reach(name, routed, entry, forward, expected_spends)
            except BaseException:
                # What a cancelled call cost is not known; that it was made is.
                done.append(CallResult(name, None))
                raise
            done.append(found)
            return found

        try:
            gathered = await self._evidence.gather(plan, call, routed.received_s)
        except BaseException:
            # The client left or time ran out, and the calls under way are cancelled.
            late = routed.deadline_s is not None and self._clock() >= routed.deadline_s
            left = GatheredAnswers(tuple(done), None, None, frozenset())
            expert = done[0].expert if done else str(routed.decision.expert)
            self._recorder.gathered(routed, entry, expert, left.outcomes(), 504 if late else CLIENT_LEFT)
            raise
        else:
            if gathered.accepted is not None and gathered.accepted.streamed:
                ttft_ms = (self._clock() - routed.received_s) * 1e3
            return gathered
        finally:
            if self._averages is not None:
                self._averages.one_request(expected_spends, ttft_ms)

    async def _reach(
        self, name: str, routed: RoutedRequest, entry: Entry, forward: Headers, expected_spends: list[ExpectedSpend]
    ) -> CallResult:
        """Make one call and read its reply to the end. A failed call counts as no answer."""
        try:
            reservation = await reserve_or_wait(routed, self._pool[name].spec)
        except RequestRefused:
            return CallResult(name, None)
        try:
            attempt = self._attempts.begin(name, routed, entry, stream=False, reservation=reservation)
        except BaseException:  # whatever it was, nothing stays held
            if reservation is not None:
                reservation.release()
            raise
        try:
            return await self._call(attempt, routed, forward, expected_spends)
        finally:
            let_go(attempt)

    async def _call(
        self, attempt: Attempt, routed: RoutedRequest, forward: Headers, expected_spends: list[ExpectedSpend]
    ) -> CallResult:
        name = attempt.expert
        try:
            reply = await self._pool[name].call(self._attempts.call_of(attempt, routed, forward))
            data = await read_whole(name, reply, self._most_bytes)
            streamed = is_stream(routed.inbound, reply)
            found = await read_reply(
                name,
                reply,
                data,
                streamed=streamed,
                large_bodies=self._large_bodies,
                hides_usage=attempt.adds_usage,
            )
        except ExpertError as error:
            attempt.flight.fail(error)
            attempt.worked, attempt.sent_twice = error.sent, error.sent_twice
            self._attempts.abandon(routed, attempt, type(error).__name__)
            return CallResult(name, None, latency_ms=attempt.after_ms(self._clock()))
        except BaseException:
            # The client left while we waited: only the record is missing.
            self._recorder.call_ended(routed, attempt, CLIENT_LEFT)
            if attempt.expected_spend is not None:
                expected_spends.append(attempt.expected_spend)
            raise
        # Only a reply over a connection that is kept knows it.
        attempt.sent_twice = getattr(reply, "sent_twice", False)
        failed = failure_in(reply.status, data, streamed=streamed)
        status = reply.status if failed is None else failed.status
        blame = None if failed is None else self._attempts.blamed(attempt, failed)
        if blame is not None and blame is not Blame.CALLER:
            attempt.flight.finish()
            self._attempts.abandon(routed, attempt, str(status), adds_load=blame.adds_load)
            return replace(found, status=status, text=None, latency_ms=attempt.after_ms(self._clock()))
        outcome = self._recorder.call_ended(routed, attempt, status, found.usage)
        if attempt.expected_spend is not None and attempt.worked:
            expected_spends.append(attempt.expected_spend)
        if failed is not None and failed.error is not None:
            body = client_error(routed.inbound.asked, status, data, failed.error)
            found = replace(found, headers=with_json_type(reply.headers), data=body, streamed=False, final=True)
        return replace(
            found,
            status=status,
            usage=usage_of(outcome),
            usage_implausible=outcome.usage_implausible,
            cost_usd=outcome.cost_usd,
            energy_j=outcome.energy_j,
            latency_ms=attempt.after_ms(self._clock()),
        )
