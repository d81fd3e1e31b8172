"""The live experts: lookup, load, health, and the snapshot that decisions are made on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pointsman.experts.flight import Counts, Flight, Member
from pointsman.experts.health import Circuit, HealthPolicy
from pointsman.experts.protocols import Expert
from pointsman.experts.spec import ExpertSpec, PoolView

_log = logging.getLogger(__name__)


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
        before: The pool that these experts were in, as far as they were in one: their load and health go on, and both
            pools see them.

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
        before: ExpertPool | None = None,
    ) -> None:
        self._clock = clock
        self._probes = probes or ProbePolicy()
        self._rng = rng or random.Random()
        known = {} if before is None else {expert.spec.name: before.member_of(expert) for expert in experts}
        engines = {one.spec.engine: one.engine for one in known.values() if one is not None and one.spec.engine}
        self._members: dict[str, Member] = {}
        self._new: list[str] = []
        for expert in experts:
            spec = expert.spec
            if spec.name in self._members:
                raise ValueError(f"two experts are called {spec.name!r}")
            member = known.get(spec.name)
            if member is None:
                member = Member(expert, Circuit(health or HealthPolicy()), engines.get(spec.engine))
                self._new.append(spec.name)
            if spec.engine:
                engines[spec.engine] = member.engine
            self._members[spec.name] = member
        self._retired = False
        self._watcher: Callable[[str], None] | None = None
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

    def member_of(self, expert: Expert) -> Member | None:
        """What is known of an expert; None where it is not in this pool."""
        member = self._members.get(expert.spec.name)
        return member if member is not None and member.expert is expert else None

    def snapshot(self) -> PoolView:
        """The current state of the experts. The same object as before if nothing has changed since."""
        now_s = self._clock()
        if self._retired:
            return PoolView(tuple((member.spec, member.observed(now_s)) for member in self._members.values()), now_s)
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
            if member.full or not member.awake or not member.circuit.healthy(now_s):
                return False
        return True

    def has_room(self, name: str) -> bool:
        """Whether an expert takes one more call.

        Raises:
            KeyError: There is no such expert.
        """
        return not self._members[name].full

    def in_flight(self) -> dict[str, int]:
        """Calls in flight from here, by expert."""
        return {name: member.in_flight for name, member in self._members.items()}

    def busy_elsewhere(self, calls: Mapping[str, int]) -> None:
        """Hear how many calls others have in flight, by expert; those not named have none."""
        for name, member in self._members.items():
            there = calls.get(name, 0)
            if there == member.elsewhere:
                continue
            fewer = there < member.elsewhere
            member.occupied_elsewhere(there)
            if fewer:
                member.engine.tell()

    def reserve_slot(self, name: str) -> None:
        """Reserve a slot for a later call: it counts as in flight until `release_slot`.

        Raises:
            KeyError: There is no such expert.
        """
        self._members[name].occupy(1)

    def release_slot(self, name: str) -> None:
        """Release a reserved slot, without a notice to the watcher.

        Raises:
            KeyError: There is no such expert.
        """
        self._members[name].occupy(-1)

    def watch(self, freed: Callable[[str], None] | None) -> None:
        """Set the function that gets the name of an expert whenever one of its calls has ended; None for none."""
        before, self._watcher = self._watcher, freed
        for member in self._members.values():
            others = tuple(watcher for watcher in member.watchers if watcher is not before)
            member.watchers = others if freed is None else (*others, freed)

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

    def begin(self, name: str, *, stream: bool, prompt_tokens: int | None = None) -> Flight:
        """A call to an expert begins: it counts as in flight until the returned flight has landed.

        Use it in a `with` block, or call one of `finish`, `fail` and `cancel` on every path.

        Args:
            name: Whose call.
            stream: Whether the answer streams; the speed of a whole one is known less exactly.
            prompt_tokens: Of the prompt, as far as the gateway can tell; without it nothing is learned of the time to
                first token.

        Raises:
            KeyError: There is no such expert.
        """
        return Flight(self._members[name], self._clock, stream=stream, prompt_tokens=prompt_tokens)

    async def start(self) -> None:
        """Start every expert.

        Raises:
            ExpertMisconfigured: One of them can never work; all that no other pool started are closed again. Others'
                errors are added as notes.
        """
        results = await asyncio.gather(*(expert.start() for expert in self), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            await _close(self._members[name].expert for name in self._new)
            for other in errors[1:]:
                errors[0].add_note(str(other))
            raise errors[0]

    async def probe_new(self) -> None:
        """Probe the experts that no pool had before, once each."""
        await asyncio.gather(*(self.probe(name) for name in self._new))

    @property
    def problem(self) -> str | None:
        """Why no expert could answer now; None where one could. Null experts do not count: they answer few prompts."""
        now_s = self._clock()
        found = []
        for name, member in self._members.items():
            if member.spec.null:
                continue
            detail = member.circuit.last_problem(now_s)
            if not detail:
                return None
            found.append(f"{name}: {detail}")
        return "no expert is well: " + "; ".join(found)

    @property
    def unreachable(self) -> bool:
        """Whether every expert has been tried and none has ever answered. Null experts do not count."""
        members = [member for member in self._members.values() if not member.spec.null]
        return bool(members) and all(member.circuit.never_well for member in members)

    def retire(self) -> None:
        """Another pool holds these experts from now on; calls that began here end here."""
        self._retired = True

    async def aclose(self, keep: ExpertPool | None = None) -> None:
        """Close every expert, whatever the others do.

        Args:
            keep: The pool that stays in use; its experts are not closed.

        Raises:
            BaseException: The first thing that went wrong, after all were closed.
        """
        self.watch(None)
        kept = set() if keep is None else {id(expert) for expert in keep}
        for member in self._members.values():
            if id(member.expert) not in kept:
                member.engine.leave(member)
        await _close(expert for expert in self if id(expert) not in kept)

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


async def _close(experts: Iterable[Expert]) -> None:
    results = await asyncio.gather(*(expert.aclose() for expert in experts), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
