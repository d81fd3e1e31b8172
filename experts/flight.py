"""One expert of a pool and its calls in flight: load, health and speed as this process sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pointsman.experts.engine import EngineLoad
from pointsman.experts.errors import ExpertError, ExpertMisconfigured, ExpertSaturated
from pointsman.experts.health import Circuit
from pointsman.experts.protocols import Expert
from pointsman.experts.spec import ExpertState, Usage
from pointsman.experts.speed import NO_LOAD
from pointsman.experts.token_counts import TokenCountModel

#: A stream whose tokens follow each other faster came in one piece: something on its way had kept it.
_AT_ONCE_MS_PER_TOKEN: Final = 0.05

#: After how long a call counts half among the recent ones.
_RECENT_HALF_LIFE_S: Final = 10.0
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
        "_recent_calls",
        "_state",
        "_valid_until_s",
        "awake",
        "changed",
        "circuit",
        "counts",
        "elsewhere",
        "engine",
        "expert",
        "in_flight",
        "spec",
        "token_counts",
        "watchers",
    )

    def __init__(self, expert: Expert, circuit: Circuit, engine: EngineLoad | None = None) -> None:
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
        #: Shared with the other experts of its server.
        self.engine = EngineLoad(self.spec.latency) if engine is None else engine
        self.engine.join(self)
        self.token_counts = TokenCountModel()
        #: Told its name when one of its calls has ended.
        self.watchers: tuple[Callable[[str], None], ...] = ()
        self.changed = True
        self._valid_until_s = float("inf")
        self._state = ExpertState()
        self._recent_calls = -math.inf

    def called(self, now_s: float) -> None:
        """Count a call that begins."""
        # Weights grow instead of a sum fading, so that figures of different moments compare.
        before, one = self._recent_calls, now_s / _RECENT_HALF_LIFE_S
        self._recent_calls = max(before, one) + math.log2(1.0 + 2.0 ** -abs(before - one))

    def occupy(self, slots: int) -> None:
        """Take slots among its calls in flight, or release them with a negative number."""
        self.in_flight += slots
        self.engine.in_flight += slots
        self.engine.changed()

    def occupied_elsewhere(self, slots: int) -> None:
        """Other replicas of the gateway have so many calls in flight with it."""
        self.engine.elsewhere += slots - self.elsewhere
        self.elsewhere = slots
        self.engine.changed()

    @property
    def full(self) -> bool:
        """Whether its engine has as many calls in flight as it takes, here and elsewhere."""
        return self.engine.in_flight + self.engine.elsewhere >= self._most

    def stale(self, now_s: float) -> bool:
        """Whether what `state` said last may no longer hold."""
        return self.changed or now_s >= self._valid_until_s

    def state(self, now_s: float) -> ExpertState:
        """Its current state; the same object as before if nothing has changed since."""
        if self.stale(now_s):
            self._state = self.observed(now_s)
            until_s = self.circuit.opens_again_at_s
            self._valid_until_s = until_s if until_s is not None and until_s > now_s else float("inf")
            self._valid_until_s = min(self._valid_until_s, self.engine.speed.holds_until_s(now_s))
            self.changed = False
        return self._state

    def observed(self, now_s: float) -> ExpertState:
        """The current state, computed again, without a change of `stale`."""
        load = self.engine.load
        return ExpertState(
            healthy=self.circuit.healthy(now_s),
            awake=self.awake,
            in_flight=load.in_flight,
            speed=self.engine.speed.under(load, now_s),
            idle_speed=self.engine.speed.under(NO_LOAD, now_s),
            tokens=self.token_counts.factors,
            recent_calls=self._recent_calls,
            detail=self.circuit.detail(now_s),
        )


class Flight:
    """One call under way. Landing it (`finish`, `fail`, `cancel`) is idempotent: the first one counts.

    As a context manager it lands on every path: an `ExpertError` is the expert's fault, any other exception (also
    cancellation) is not, and a block that ends without a word is a call that went well.
    """

    __slots__ = (
        "_awaiting_tokens",
        "_began_s",
        "_clock",
        "_first_s",
        "_landed",
        "_load",
        "_member",
        "_prompt_tokens",
        "_status",
        "_stream",
        "_trial",
    )

    def __init__(
        self, member: Member, clock: Callable[[], float], *, stream: bool, prompt_tokens: int | None = None
    ) -> None:
        self._member = member
        self._clock = clock
        self._stream = stream
        self._status = 200
        self._first_s: float | None = None
        self._landed = False
        self._began_s = clock()
        self._trial = member.circuit.called(self._began_s)
        self._load = member.engine.load
        self._prompt_tokens = prompt_tokens
        self._awaiting_tokens = (prompt_tokens or 0) if stream else 0
        member.engine.awaiting_tokens += self._awaiting_tokens
        member.called(self._began_s)
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
            self._read()

    def finish(self, usage: Usage | None = None) -> None:
        """The answer is complete.

        Args:
            usage: As the expert reported it; without it little is learned of its speed, and nothing of its tokens.
        """
        if self._status >= 500 or self._status in _FAILURES:
            self.fail(f"HTTP {self._status}")
        elif self._status == 429:
            self.cancel()
        elif self._land():
            member = self._member
            member.counts.succeeded += 1
            member.circuit.succeeded()
            if self._status < 300:
                self._observe(None if usage is None else usage.completion_tokens)
                if usage is not None and self._prompt_tokens is not None:
                    member.token_counts.see(self._prompt_tokens, usage.prompt_tokens)

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
        self._read()
        member = self._member
        member.occupy(-1)
        member.engine.tell()
        return True

    def _read(self) -> None:
        """The expert has read the prompt, or never will."""
        engine, tokens = self._member.engine, self._awaiting_tokens
        if tokens:
            self._awaiting_tokens = 0
            engine.awaiting_tokens -= tokens
            engine.changed()

    def _observe(self, completion_tokens: int | None) -> None:
        """Learn from an answer. A call whose prompt nobody counted says only how its tokens followed each other."""
        first_s = self._first_s
        if first_s is None:
            return
        now_s, speed, prompt_tokens = self._clock(), self._member.engine.speed, self._prompt_tokens
        tokens, rest_ms = completion_tokens or 0, (now_s - first_s) * 1000
        if not self._stream or rest_ms < (tokens - 1) * _AT_ONCE_MS_PER_TOKEN:
            if tokens and prompt_tokens is not None:
                speed.whole(self._load, prompt_tokens, tokens, (now_s - self._began_s) * 1000, now_s)
            return
        if prompt_tokens is not None:
            speed.first_byte(self._load, prompt_tokens, (first_s - self._began_s) * 1000, now_s)
        if tokens > 1:
            speed.rest(self._load, tokens - 1, rest_ms, now_s)
