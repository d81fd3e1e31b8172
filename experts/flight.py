"""One expert of a pool and its calls in flight: load, health and speed as this process sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pointsman.experts.errors import ExpertError, ExpertMisconfigured, ExpertSaturated
from pointsman.experts.health import Circuit
from pointsman.experts.protocols import Expert
from pointsman.experts.spec import ExpertState

#: Weight of the newest observation in the moving averages of TTFT and TPOT.
_EWMA_WEIGHT: Final = 0.2
#: Statuses below 500 that say that an expert failed: redirects, out of credit, out of time, and too early.
_FAILURES: Final = frozenset(range(300, 400)) | {402, 408, 425, 499}


@dataclass(slots=True)
class Counts:
    """How the calls of one expert ended.

    Attributes:
        succeeded: Answered to the end, whatever the answer (a 400 is the caller's fault).
        failed: Failed by the expert's fault.
        cancelled: No verdict: left by the caller, or refused by the expert for load.
    """

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Member:
    """One expert of a pool, with its load, its health and what was seen of its speed."""

    __slots__ = (
        "_most",
        "_state",
        "_valid_until_s",
        "awake",
        "changed",
        "circuit",
        "counts",
        "elsewhere",
        "expert",
        "in_flight",
        "spec",
        "tpot_ms",
        "ttft_ms",
        "watchers",
    )

    def __init__(self, expert: Expert, circuit: Circuit) -> None:
        self.expert = expert
        self.spec = expert.spec
        most = expert.spec.max_concurrency
        self._most = math.inf if most is None else most
        self.circuit = circuit
        self.counts = Counts()
        self.awake = True
        self.in_flight = 0
        #: Calls that other replicas have in flight with it, as far as they say so.
        self.elsewhere = 0
        self.ttft_ms: float | None = None
        self.tpot_ms: float | None = None
        #: Told its name when one of its calls has ended.
        self.watchers: tuple[Callable[[str], None], ...] = ()
        self.changed = True
        self._valid_until_s = float("inf")
        self._state = ExpertState()

    def occupy(self, slots: int) -> None:
        """Take slots among its calls in flight, or release them with a negative number."""
        self.in_flight += slots
        self.changed = True

    @property
    def full(self) -> bool:
        """Whether it has as many calls in flight as it takes, here and elsewhere."""
        return self.in_flight + self.elsewhere >= self._most

    def tell(self) -> None:
        """Notify the listeners that there may be room."""
        for freed in self.watchers:
            freed(self.spec.name)

    def stale(self, now_s: float) -> bool:
        """Whether what `state` said last may no longer hold."""
        return self.changed or now_s >= self._valid_until_s

    def state(self, now_s: float) -> ExpertState:
        """Its current state; the same object as before if nothing has changed since."""
        if self.stale(now_s):
            self._state = self.observed(now_s)
            until_s = self.circuit.opens_again_at_s
            self._valid_until_s = until_s if until_s is not None and until_s > now_s else float("inf")
            self.changed = False
        return self._state

    def observed(self, now_s: float) -> ExpertState:
        """The current state, computed again, without a change of `stale`."""
        return ExpertState(
            healthy=self.circuit.healthy(now_s),
            awake=self.awake,
            in_flight=self.in_flight + self.elsewhere,
            ttft_ms=self.ttft_ms,
            tpot_ms=self.tpot_ms,
            detail=self.circuit.detail(now_s),
        )


class Flight:
    """One call under way. Landing it (`finish`, `fail`, `cancel`) is idempotent: the first one counts.

    As a context manager it lands on every path: an `ExpertError` is the expert's fault, any other exception (also
    cancellation) is not, and a block that ends without a word is a call that went well.
    """

    __slots__ = ("_began_s", "_clock", "_first_s", "_landed", "_member", "_status", "_stream", "_trial")

    def __init__(self, member: Member, clock: Callable[[], float], *, stream: bool) -> None:
        self._member = member
        self._clock = clock
        self._stream = stream
        self._status = 200
        self._first_s: float | None = None
        self._landed = False
        self._began_s = clock()
        self._trial = member.circuit.called(self._began_s)
        member.occupy(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, ExpertError):
            self.fail(error)
        else:
            self.cancel()

    @property
    def ttft_ms(self) -> float | None:
        """Time to the first byte of the body; None before it."""
        return None if self._first_s is None else (self._first_s - self._began_s) * 1000

    def head(self, status: int) -> None:
        """The head of the answer is here: `finish` counts some statuses as a failure, and 429 as no verdict."""
        self._status = status

    def first_byte(self) -> None:
        """The first byte of the body is here. Later calls change nothing."""
        if self._first_s is None:
            self._first_s = self._clock()

    def finish(self, completion_tokens: int | None = None) -> None:
        """The answer is complete.

        Args:
            completion_tokens: As the expert reported them; None leaves TPOT unobserved.
        """
        if self._status >= 500 or self._status in _FAILURES:
            self.fail(f"HTTP {self._status}")
        elif self._status == 429:
            self.cancel()
        elif self._land():
            member = self._member
            member.counts.succeeded += 1
            member.circuit.succeeded()
            if self._stream and self._status < 300:
                self._observe(completion_tokens)

    def fail(self, error: ExpertError | str, *, mends_itself: bool = True) -> None:
        """The call failed. `ExpertSaturated` is no verdict (busy is not sick); all else is the expert's fault.

        Args:
            error: What happened.
            mends_itself: Whether the next call may fare better; else the expert is left alone from now on.
        """
        if isinstance(error, ExpertSaturated):
            self.cancel()
        elif self._land():
            detail = error if isinstance(error, str) else error.message
            if isinstance(error, ExpertMisconfigured):
                mends_itself = False
            self._member.counts.failed += 1
            self._member.circuit.failed(self._clock(), detail, trial=self._trial, mends_itself=mends_itself)

    def refuse(self, detail: str) -> bool:
        """The expert refused the call, be it for what it asked or for who asks.

        Args:
            detail: What happened.

        Returns:
            Whether there were so many in a row that the expert is left alone from now on.
        """
        if not self._land():
            return False
        self._member.counts.failed += 1
        return self._member.circuit.refused(self._clock(), detail, trial=self._trial)

    def tell_once(self, what: str) -> bool:
        """Note what the operator may want to know. Returns whether it is news at all."""
        return self._member.circuit.tell_once(what)

    def accuse(self, what: str) -> bool:
        """Note what only the operator can mend. Returns whether it is news since the last call that went well."""
        return self._member.circuit.accuse(what)

    def cancel(self) -> None:
        """The call ended without a verdict on the expert: the client left, or the fault is ours."""
        if self._land():
            self._member.counts.cancelled += 1
            self._member.circuit.undecided(trial=self._trial)

    def _land(self) -> bool:
        if self._landed:
            return False
        self._landed = True
        member = self._member
        member.occupy(-1)
        if member.watchers:
            member.tell()
        return True

    def _observe(self, completion_tokens: int | None) -> None:
        if self._first_s is None:
            return
        member = self._member
        member.ttft_ms = _averaged(member.ttft_ms, (self._first_s - self._began_s) * 1000)
        if completion_tokens is not None and completion_tokens > 1:
            tpot_ms = (self._clock() - self._first_s) * 1000 / (completion_tokens - 1)
            member.tpot_ms = _averaged(member.tpot_ms, tpot_ms)


def _averaged(average: float | None, observed: float) -> float:
    return observed if average is None else average + _EWMA_WEIGHT * (observed - average)
