"""Shadow calls at run time: after the client has its answer, another expert may get the same prompt for comparison.

Which expert, within what budget, and what the answer teaches is pure logic (`routers/selection/exploration.py`). The
calls are made here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pointsman.experts.errors import ExpertError
from pointsman.experts.pool import ExpertPool
from pointsman.experts.protocols import ExpertCall, Headers
from pointsman.gateway.access.charge import Basis, charge_of, turned_away
from pointsman.gateway.deciding.null_experts import Recording
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.expert_call import salted_for
from pointsman.gateway.dispatch.gathered_answers import CallResult, read_reply
from pointsman.gateway.dispatch.whole_reply import is_stream, read_whole
from pointsman.gateway.record.ledger import Ledger
from pointsman.gateway.shared.learning import JudgedAnswer, Learning
from pointsman.gateway.tasks import end
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.asked_usage import asking, may_ask
from pointsman.gateway.wire.chat_dialect import body_for
from pointsman.gateway.wire.large_bodies import LargeBodies
from pointsman.gateway.wire.request import AUTO
from pointsman.gateway.wire.whole_answer import failure_in
from pointsman.routers.evidence.keys import answer_key
from pointsman.routers.outcomes import Verdict
from pointsman.routers.selection.exploration import (
    SHADOW_WEIGHT,
    ExplorationAccount,
    ExplorationReservation,
    choose_shadow,
    quality_by_agreement,
)
from pointsman.routers.types import Candidate, Reason

_log = logging.getLogger(__name__)

_MOST_AT_ONCE: Final = 4
#: Longer answers are not compared.
_MOST_BYTES: Final = 256 * 1024
#: Of an answer that comes as events, its text is a small part.
_MOST_READ_BYTES: Final = 64 * _MOST_BYTES
_CHOSEN: Final = frozenset({Reason.BEST_UTILITY, Reason.UNCERTAIN})


class Exploration:
    """Makes shadow calls. The client never waits for one.

    Args:
        account: What they may take, of this process, and have taken.
        pool: The experts.
        ledger: Told what came of a call.
        telemetry: Likewise.
        learning: Told what it teaches; None where nothing is learned.
        large_bodies: Reads what is large.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        account: ExplorationAccount,
        *,
        pool: ExpertPool,
        ledger: Ledger,
        telemetry: Telemetry,
        learning: Learning | None,
        large_bodies: LargeBodies,
        clock: Callable[[], float],
    ) -> None:
        self._account = account
        self._pool = pool
        self._ledger = ledger
        self._telemetry = telemetry
        self._learning = learning
        self._large_bodies = large_bodies
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def recording(self, routed: RoutedRequest, answered: str, forward: Headers) -> Recording | None:
        """Where the answer goes once the client has it; None where no shadow call may follow.

        None may follow when the caller chose the expert or wants nothing kept or no kept answer, when an expert without
        a model answered, when answers were compared already, and when the budget's share is used up.

        Args:
            routed: The request.
            answered: Who answered.
            forward: Client headers that may travel on.
        """
        inbound = routed.inbound
        if inbound.translated is not None or not inbound.endpoint.writes:
            return None
        fresh = not routed.caching.read or not routed.caching.keep or inbound.payload.get("store") is False
        if inbound.model != AUTO or routed.decision.reason not in _CHOSEN or fresh or self._pool[answered].spec.null:
            return None
        if not self._account.request() or routed.evidence is not None or len(self._tasks) >= _MOST_AT_ONCE:
            return None
        return Recording(lambda text: self._follow(routed, answered, text, forward), _MOST_BYTES)

    @property
    def busy(self) -> bool:
        """Whether a shadow call is under way."""
        return bool(self._tasks)

    async def aclose(self) -> None:
        """Cancel what is under way."""
        await end(*self._tasks)

    def _follow(self, routed: RoutedRequest, answered: str, text: str, forward: Headers) -> None:
        # In a task of its own: the connection that had the answer is free for the next request.
        task = asyncio.create_task(self._explore(routed, answered, text, forward), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a shadow call failed", exc_info=error)

    async def _explore(self, routed: RoutedRequest, answered: str, text: str, forward: Headers) -> None:
        now_s = self._clock()
        learned = None if self._learning is None else self._learning.corrections_of(routed.tenant)
        # The share may have been used since the answer began.
        shadow = None
        if self._account.ready:
            shadow = choose_shadow(
                routed.decision,
                answered,
                self._pool.snapshot(),
                learned,
                lambda candidate: self._account.affords(candidate, now_s),
            )
        if shadow is None:
            return
        reached = await self._ask(routed, shadow, self._account.reserve(shadow, now_s), forward)
        verdict = _verdict(text, reached)
        call = reached.outcome(verdict)
        self._telemetry.shadowed(call)
        await self._ledger.shadowed(routed.tenant, routed.decision.id, call)
        if self._learning is not None and verdict in (Verdict.AGREED, Verdict.DIFFERED):
            self._learning.learn(routed.tenant, _lesson(routed, answered, shadow, agree=verdict is Verdict.AGREED))

    async def _ask(
        self, routed: RoutedRequest, shadow: Candidate, reserved: ExplorationReservation, forward: Headers
    ) -> CallResult:
        name, spec, inbound = shadow.spec.name, shadow.spec, routed.inbound
        began_s = self._clock()
        body, payload = body_for(spec, inbound, spec.model)
        if inbound.stream and spec.stream_usage and may_ask(payload):
            # Nobody but us sees the answer.
            body, payload = asking(body, payload, spec.model)
        if spec.cache_salt:
            body = salted_for(routed, inbound.endpoint, body)
        with self._pool.begin(name, stream=False) as flight:
            try:
                reply = await self._pool[name].call(
                    ExpertCall(
                        request_id=routed.decision.id,
                        endpoint=inbound.endpoint,
                        body=body,
                        payload=payload,
                        stream=inbound.stream,
                        headers=forward,
                    )
                )
                data = await read_whole(name, reply, _MOST_READ_BYTES)
                streamed = is_stream(inbound, reply)
                found = await read_reply(name, reply, data, streamed=streamed, large_bodies=self._large_bodies)
            except ExpertError as error:
                flight.fail(error)
                if not error.sent:
                    self._account.settle(reserved, 0.0, 0.0)
                return CallResult(name, None, latency_ms=(self._clock() - began_s) * 1e3)
            failed = failure_in(reply.status, data, streamed=streamed)
            status = reply.status if failed is None else failed.status
            flight.head(status)
        charge = charge_of(spec, inbound, found.usage, worked=not turned_away(status))
        if charge.implausible:
            self._telemetry.implausible_usage.labels(name).inc()
        usage = charge.known
        cost_usd, energy_j = spec.cost_usd(usage), spec.energy_j(usage)
        if charge.basis is Basis.NOTHING:
            cost_usd = energy_j = 0.0
        self._account.settle(reserved, cost_usd, energy_j)
        return CallResult(
            name, status, text=found.text, usage=usage, usage_implausible=charge.implausible, cost_usd=cost_usd,
            energy_j=energy_j, latency_ms=(self._clock() - began_s) * 1e3,
        )  # fmt: skip


def _verdict(text: str, reached: CallResult) -> Verdict:
    """Whether both state the same result. Prose that states none cannot be told apart so, and teaches nothing."""
    if not reached.answered:
        return Verdict.FAILED
    given = answer_key(text)
    other = None if reached.text is None else answer_key(reached.text)
    if given is None or other is None:
        return Verdict.NOT_COMPARED
    return Verdict.AGREED if given == other else Verdict.DIFFERED


def _lesson(routed: RoutedRequest, answered: str, shadow: Candidate, *, agree: bool) -> JudgedAnswer:
    decision = routed.decision
    assert decision.classification is not None  # noqa: S101  # only routed requests are explored
    given = next(one for one in decision.candidates if one.spec.name == answered).estimates.quality
    quality = shadow.estimates.quality
    return JudgedAnswer(
        shadow.spec.name,
        decision.classification.posterior,
        quality.mean - quality.learned,
        quality_by_agreement(given.mean, quality.mean, agree=agree),
        SHADOW_WEIGHT,
    )
