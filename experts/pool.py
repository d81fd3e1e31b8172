"""The live experts: lookup, load, health, and the snapshot that decisions are made on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from experts.errors import ExpertError, ExpertSaturated
from experts.health import Circuit, HealthPolicy
from experts.protocols import Expert
from experts.spec import ExpertSpec, ExpertState, PoolView

_log = logging.getLogger(__name__)

#: Weight of the newest observation in the moving averages of TTFT and TPOT.
_EWMA_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class ProbePolicy:
    """How experts are probed in the background.

    Attributes:
        interval_s: Between two probes of one expert.
        jitter: Share of the interval by which it varies, so that replicas do not probe in step.
        timeout_s: How long one probe may take.
    """

    interval_s: float = 10.0
    jitter: float = 0.2
    timeout_s: float = 5.0


class ExpertPool:
    """The experts one may call, in the operator's order.

    Args:
        experts: The backends.
        clock: Seconds of a monotonic clock.
        health: When an expert counts as unwell.
        probes: How it is probed.
        rng: Of the probes' jitter.

    Raises:
        ValueError: Two experts have the same name.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        clock: Callable[[], float],
        health: HealthPolicy | None = None,
        probes: ProbePolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._probes = probes or ProbePolicy()
        self._rng = rng or random.Random()
        self._members: dict[str, _Member] = {}
        for expert in experts:
            name = expert.spec.name
            if name in self._members:
                raise ValueError(f"two experts are called {name!r}")
            self._members[name] = _Member(expert, Circuit(health or HealthPolicy()))
        self._view: PoolView | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[Expert]:
        return (member.expert for member in self._members.values())

    def __getitem__(self, name: str) -> Expert:
        """The expert of that name.

        Raises:
            KeyError: There is none.
        """
        return self._members[name].expert

    @property
    def specs(self) -> tuple[ExpertSpec, ...]:
        """What the experts are."""
        return tuple(member.spec for member in self._members.values())

    def snapshot(self) -> PoolView:
        """How the experts fare now. The same object as before when nothing has changed since."""
        now_s = self._clock()
        view = self._view
        if view is None or any(member.stale(now_s) for member in self._members.values()):
            view = self._view = PoolView(
                tuple((member.spec, member.state(now_s)) for member in self._members.values()), now_s
            )
        return view

    @property
    def all_ready(self) -> bool:
        """Whether every expert is healthy, awake and has room."""
        now_s = self._clock()
        for member in self._members.values():
            if member.in_flight >= member.spec.max_concurrency or not member.awake or not member.circuit.healthy(now_s):
                return False
        return True

    def counts(self, name: str) -> Counts:
        """How the calls of one expert ended so far.

        Raises:
            KeyError: There is no such expert.
        """
        return self._members[name].counts

    def keep_awake(self, names: Collection[str] | None) -> None:
        """Mark which experts are awake (coarse selection); None for all.

        Raises:
            KeyError: A name is no expert's.
        """
        unknown = set(names or ()) - self._members.keys()
        if unknown:
            raise KeyError(sorted(unknown)[0])
        for name, member in self._members.items():
            member.awake = names is None or name in names
            member.changed = True

    def begin(self, name: str, *, stream: bool) -> Flight:
        """A call to an expert begins: it counts as in flight until the returned flight has landed.

        Use it in a `with` block, or call one of `finish`, `fail` and `cancel` on every path.

        Args:
            name: Whose call.
            stream: Whether the answer streams; only then are TTFT and TPOT observed.

        Raises:
            KeyError: There is no such expert.
        """
        return Flight(self._members[name], self._clock, stream=stream)

    async def start(self) -> None:
        """Start every expert.

        Raises:
            ExpertMisconfigured: One of them can never work; all are closed again. Others' errors are added as notes.
        """
        results = await asyncio.gather(*(expert.start() for expert in self), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            await self.aclose()
            for other in errors[1:]:
                errors[0].add_note(str(other))
            raise errors[0]

    async def aclose(self) -> None:
        """Close every expert, whatever the others do.

        Raises:
            BaseException: The first thing that went wrong, after all were closed.
        """
        results = await asyncio.gather(*(expert.aclose() for expert in self), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def probe(self, name: str) -> str | None:
        """Probe one expert now and note the result. None when it is well, else why not.

        Raises:
            KeyError: There is no such expert.
        """
        member = self._members[name]
        try:
            async with asyncio.timeout(self._probes.timeout_s):
                problem = await member.expert.probe()
        except TimeoutError:
            problem = f"no answer within {self._probes.timeout_s:g} s"
        except Exception as error:  # against the contract, yet no reason to stop probing this expert and the others
            _log.exception("the probe of %s failed", name)
            problem = f"the probe itself failed: {error}"
        was_healthy = member.circuit.healthy(self._clock())
        member.circuit.probed(problem)
        member.changed = True
        if was_healthy != member.circuit.healthy(self._clock()):
            _log.warning("expert %s is %s", name, "well again" if problem is None else f"unhealthy: {problem}")
        return problem

    async def run_probes(self) -> None:
        """Probe every expert at its interval, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._members:
                group.create_task(self._probe_forever(name), name=f"probe {name}")

    async def _probe_forever(self, name: str) -> None:
        while True:
            await self.probe(name)
            spread = self._probes.jitter * (2 * self._rng.random() - 1)
            await asyncio.sleep(self._probes.interval_s * (1 + spread))


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


class _Member:
    __slots__ = (
        "_state",
        "_valid_until_s",
        "awake",
        "changed",
        "circuit",
        "counts",
        "expert",
        "in_flight",
        "spec",
        "tpot_ms",
        "ttft_ms",
    )

    def __init__(self, expert: Expert, circuit: Circuit) -> None:
        self.expert = expert
        self.spec = expert.spec
        self.circuit = circuit
        self.counts = Counts()
        self.awake = True
        self.in_flight = 0
        self.ttft_ms: float | None = None
        self.tpot_ms: float | None = None
        self.changed = True
        self._valid_until_s = float("inf")
        self._state = ExpertState()

    def stale(self, now_s: float) -> bool:
        return self.changed or now_s >= self._valid_until_s

    def state(self, now_s: float) -> ExpertState:
        if self.stale(now_s):
            self._state = ExpertState(
                healthy=self.circuit.healthy(now_s),
                awake=self.awake,
                in_flight=self.in_flight,
                ttft_ms=self.ttft_ms,
                tpot_ms=self.tpot_ms,
                detail=self.circuit.detail(now_s),
            )
            until_s = self.circuit.opens_again_at_s
            self._valid_until_s = until_s if until_s is not None and until_s > now_s else float("inf")
            self.changed = False
        return self._state


class Flight:
    """One call under way. Landing it (`finish`, `fail`, `cancel`) is idempotent: the first one counts.

    As a context manager it lands on every path: an `ExpertError` is the expert's fault, any other exception (also
    cancellation) is not, and a block that ends without a word is a call that went well.
    """

    __slots__ = ("_began_s", "_clock", "_first_s", "_landed", "_member", "_status", "_stream", "_trial")

    def __init__(self, member: _Member, clock: Callable[[], float], *, stream: bool) -> None:
        self._member = member
        self._clock = clock
        self._stream = stream
        self._status = 200
        self._first_s: float | None = None
        self._landed = False
        self._began_s = clock()
        self._trial = member.circuit.called(self._began_s)
        member.in_flight += 1
        member.changed = True

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
        """The head of the answer is here: from 500 on `finish` counts as a failure, 429 as no verdict."""
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
        if self._status >= 500:
            self.fail(f"HTTP {self._status}")
        elif self._status == 429:
            self.cancel()
        elif self._land():
            member = self._member
            member.counts.succeeded += 1
            member.circuit.succeeded()
            if self._stream and self._status < 300:
                self._observe(completion_tokens)

    def fail(self, error: ExpertError | str) -> None:
        """The call failed. `ExpertSaturated` is no verdict (busy is not sick); all else is the expert's fault.

        Args:
            error: What happened.
        """
        if isinstance(error, ExpertSaturated):
            self.cancel()
        elif self._land():
            detail = error if isinstance(error, str) else error.message
            self._member.counts.failed += 1
            self._member.circuit.failed(self._clock(), detail, trial=self._trial)

    def cancel(self) -> None:
        """The call ended without a verdict on the expert: the client left, or the fault is ours."""
        if self._land():
            self._member.counts.cancelled += 1
            self._member.circuit.undecided(trial=self._trial)

    def _land(self) -> bool:
        if self._landed:
            return False
        self._landed = True
        self._member.in_flight -= 1
        self._member.changed = True
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
