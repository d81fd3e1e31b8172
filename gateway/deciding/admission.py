"""The queue for requests when all suitable experts are full: fair between tenants, by priority, with a maximum wait.

A request waits only if the sole obstacle is that experts are full. When a call ends, its slot is reserved for the next
request that can use it. That request is then decided again, so no cap is broken by what changed while it waited.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.refusals import refusal_of
from pointsman.gateway.telemetry import Telemetry
from pointsman.gateway.wire.decision import seen_by
from pointsman.gateway.wire.urgency import Priority
from pointsman.routers.types import Decision, Rule

#: Weight of the newest interval between two slots that became free.
_EWMA_WEIGHT: Final = 0.1
_MAX_RETRY_AFTER_S: Final = 60.0


class ShedReason(StrEnum):
    """Why a request did not get to wait, or waited in vain. The values appear in headers and metrics."""

    QUEUE_FULL = "queue_full"
    DISPLACED = "displaced"
    WAIT_TOO_LONG = "wait_too_long"
    WAIT_EXPIRED = "wait_expired"


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What one tenant may have of a full pool.

    Attributes:
        weight: Of its turns beside the other tenants.
        priority: Its priority, and the highest its callers may ask for.
    """

    weight: float = 1.0
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What the operator set.

    Attributes:
        queue: Requests that may wait.
        max_wait_s: Longest wait.
        shares: Tenant -> its share; the rest have the default.
    """

    queue: int = 256
    max_wait_s: float = 5.0
    shares: Mapping[str, TenantShare] = field(default_factory=dict)

    def share(self, tenant: str) -> TenantShare:
        """The tenant's share."""
        return self.shares.get(tenant, _DEFAULT_SHARE)


_DEFAULT_SHARE: Final = TenantShare()


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A request that may wait.

    Attributes:
        tenant: Whose it is.
        priority: As stated; None for the tenant's own.
        until_s: When waiting is of no more use (monotonic).
        seen: Experts that may be named in a refusal; None for all.
    """

    tenant: str
    priority: Priority | None
    until_s: float
    seen: frozenset[str] | None = None


#: A line's priority and tenant.
_Key = tuple[Priority, str]


@dataclass(slots=True, eq=False)
class _Waiter:
    key: _Key
    experts: frozenset[str]
    turn: asyncio.Future[str]


class _Queue:
    """The waiting requests of one tenant with one priority, first come first served."""

    __slots__ = ("passed", "waiters", "weight")

    def __init__(self, weight: float, passed: float) -> None:
        self.waiters: deque[_Waiter] = deque()
        self.weight = weight
        #: Turns had, over the weight: whose is least is next (stride scheduling).
        self.passed = passed


class Admission:
    """The queue in front of a full pool; one per process.

    Args:
        pool: Whose room is waited for.
        policy: The operator's.
        telemetry: Told how many wait, and why others were turned away.
        clock: Monotonic seconds, the event loop's.
    """

    def __init__(
        self, pool: ExpertPool, policy: AdmissionPolicy, telemetry: Telemetry, clock: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._policy = policy
        self._telemetry = telemetry
        self._clock = clock
        self._lines: dict[_Key, _Queue] = {}
        self._waiting_for: dict[str, int] = {}
        self._freed_s: dict[str, float] = {}
        self._interval_s: dict[str, float] = {}
        self._waiting = 0

    @property
    def max_wait_s(self) -> float:
        """Longest wait."""
        return self._policy.max_wait_s

    def refusal(self, decision: Decision, request: AdmissionRequest) -> RequestRefused | None:
        """Why a request whose decision found full experts may not wait; None where it may."""
        if self._policy.queue == 0:
            return refusal_of(seen_by(decision, request.seen))
        experts = full_experts(decision)
        key = self._key(request)
        predicted_wait_s = self._predicted_wait_s(experts, key)
        if predicted_wait_s > request.until_s - self._clock():
            return self._shed(ShedReason.WAIT_TOO_LONG, experts, predicted_wait_s, decision.id)
        if self._waiting >= self._policy.queue and self._displaceable(key) is None:
            return self._shed(ShedReason.QUEUE_FULL, experts, predicted_wait_s, decision.id)
        return None

    async def wait(self, decision: Decision, request: AdmissionRequest) -> Callable[[Decision], None]:
        """Wait for room.

        Args:
            decision: Rejected some experts because they are full, and for no other reason.
            request: Who waits.

        Returns:
            To be called with the new decision, in the same step of the event loop: a slot that it does not use
            goes to the next one.

        Raises:
            RequestRefused: The queue is full, or the wait would be or was too long.
        """
        refusal = self.refusal(decision, request)
        if refusal is not None:
            raise refusal
        key = self._key(request)
        if self._waiting >= self._policy.queue and (victim := self._displaceable(key)) is not None:
            self._evict(victim, ShedReason.DISPLACED, decision.id)
        waiter = self._enqueue(key, full_experts(decision))
        loop = asyncio.get_running_loop()
        timer = loop.call_at(request.until_s, self._evict, waiter, ShedReason.WAIT_EXPIRED, decision.id)
        try:
            name = await waiter.turn
        except asyncio.CancelledError:
            # The client left, perhaps in the very moment its turn had come.
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self._pool.release_slot(waiter.turn.result())
                self._next_for(waiter.turn.result())
            else:
                self._dequeue(waiter)
            raise
        finally:
            timer.cancel()
        self._pool.release_slot(name)

        def used(decision: Decision) -> None:
            if decision.expert != name:
                self._next_for(name)

        return used

    # Inside.

    def _key(self, request: AdmissionRequest) -> _Key:
        highest = self._policy.share(request.tenant).priority
        stated = highest if request.priority is None else min(request.priority, highest)
        return stated, request.tenant

    def _enqueue(self, key: _Key, experts: frozenset[str]) -> _Waiter:
        line = self._lines.get(key)
        if line is None:
            # A new tenant starts level with the one that had least: time away earns no turns.
            passed = min((other.passed for other in self._lines.values()), default=0.0)
            line = self._lines[key] = _Queue(self._policy.share(key[1]).weight, passed)
        waiter = _Waiter(key, experts, asyncio.get_running_loop().create_future())
        line.waiters.append(waiter)
        if self._waiting == 0:
            self._pool.watch(self._on_room)
        self._count(1)
        for name in experts:
            self._waiting_for[name] = self._waiting_for.get(name, 0) + 1
        return waiter

    def _dequeue(self, waiter: _Waiter) -> None:
        line = self._lines.get(waiter.key)
        if line is None or waiter not in line.waiters:
            return
        line.waiters.remove(waiter)
        if not line.waiters:
            del self._lines[waiter.key]
        self._count(-1)
        for name in waiter.experts:
            self._waiting_for[name] -= 1
        if self._waiting == 0:
            self._pool.watch(None)
            # How fast slots become free is not seen while no request waits.
            self._freed_s.clear()

    def _count(self, more: int) -> None:
        self._waiting += more
        self._telemetry.waiting.set(self._waiting)

    def _on_room(self, name: str) -> None:
        """A call of an expert ended."""
        now_s = self._clock()
        before_s = self._freed_s.get(name)
        if before_s is not None:
            interval_s = self._interval_s.get(name, now_s - before_s)
            self._interval_s[name] = interval_s + _EWMA_WEIGHT * (now_s - before_s - interval_s)
        self._freed_s[name] = now_s
        self._next_for(name)

    def _next_for(self, name: str) -> None:
        """Reserve an expert's free slots for the next requests."""
        while self._pool.has_room(name) and (waiter := self._next(name)) is not None:
            self._lines[waiter.key].passed += 1 / self._lines[waiter.key].weight
            self._dequeue(waiter)
            self._pool.reserve_slot(name)
            waiter.turn.set_result(name)

    def _next(self, name: str) -> _Waiter | None:
        if not self._waiting_for.get(name):
            return None
        for _, line in sorted(self._lines.items(), key=lambda item: (-item[0][0], item[1].passed)):
            for waiter in line.waiters:
                if name in waiter.experts and not waiter.turn.done():
                    return waiter
        return None

    def _displaceable(self, key: _Key) -> _Waiter | None:
        """The request that a new one displaces: of a lower priority, or of a tenant above its share; None if none."""
        priority, line = min(
            ((key[0], line) for key, line in self._lines.items()),
            key=lambda item: (item[0], -len(item[1].waiters) / item[1].weight),
        )
        own = self._lines.get(key)
        held = (0 if own is None else len(own.waiters)) + 1
        weight = self._policy.share(key[1]).weight
        if priority < key[0] or (priority == key[0] and len(line.waiters) / line.weight > held / weight):
            return line.waiters[-1]
        return None

    def _predicted_wait_s(self, experts: frozenset[str], key: _Key) -> float:
        """How long a new request would wait, by how fast slots became free lately; 0 while that is not known."""
        now_s = self._clock()
        per_s = 0.0
        for name in experts:
            interval_s = self._interval_s.get(name)
            if interval_s is None:
                return 0.0
            silent_s = now_s - self._freed_s.get(name, now_s)
            per_s += 1 / max(interval_s, silent_s, 1e-6)
        ahead = max((self._waiting_for.get(name, 0) for name in experts), default=0)
        own = self._lines.get(key)
        # With fair turns nobody waits for more of each other line than its own is long.
        rivals = sum(1 for other in self._lines if other[0] >= key[0])
        fair = ((0 if own is None else len(own.waiters)) + 1) * max(rivals, 1)
        return (min(ahead, fair) + 1) / per_s if per_s else 0.0

    def _evict(self, waiter: _Waiter, why: ShedReason, decision_id: str) -> None:
        if waiter.turn.done():
            return
        predicted_wait_s = self._predicted_wait_s(waiter.experts, waiter.key)
        self._dequeue(waiter)
        waiter.turn.set_exception(self._shed(why, waiter.experts, predicted_wait_s, decision_id))

    def _shed(
        self, why: ShedReason, experts: frozenset[str], predicted_wait_s: float, decision_id: str
    ) -> RequestRefused:
        self._telemetry.shed.labels(why.value).inc()
        return RequestRefused(
            Code.POOL_BUSY,
            f"No expert has room for this request ({', '.join(sorted(experts))}), and {_SENTENCES[why]}.",
            reason=why.value,
            retry_after_s=min(max(1.0, predicted_wait_s), _MAX_RETRY_AFTER_S),
            decision_id=decision_id,
        )


_SENTENCES: Final = {
    ShedReason.QUEUE_FULL: "as many as may already wait",
    ShedReason.DISPLACED: (
        "its place in the queue went to a request of higher priority or of a tenant that waits with less"
    ),
    ShedReason.WAIT_TOO_LONG: "it would foreseeably wait too long",
    ShedReason.WAIT_EXPIRED: "it waited as long as it may",
}


def full_experts(decision: Decision) -> frozenset[str]:
    """The experts that were rejected only because they are full; empty if one was chosen."""
    if decision.expert is not None:
        return frozenset()
    return frozenset(name for name, rule in decision.explanation.barred.items() if rule == Rule.SATURATED)
