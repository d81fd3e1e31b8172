"""The discrete-event simulation: arrivals, decisions, calls and answers on one simulated clock.

The decision is the gateway's own: `select` of the router on a snapshot of an `ExpertPool` (its load, moving averages
and circuits), with the prices of a `PriceController`. Each replica has one pool and one controller. Simulated are the
clock, the machines behind the experts, and what the replicas share.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pointsman.evals.simulate.machines import Machines
from pointsman.evals.simulate.replicas import FixedPrices, PriceSource, Replica, ReplicaReports
from pointsman.evals.simulate.scenarios import Scenario, TrafficTrace
from pointsman.evals.simulate.world import World
from pointsman.experts.spec import Usage
from pointsman.routers.selection.price_controller import PriceController
from pointsman.routers.selection.prices import AverageBudget, Gains, Spending, correction
from pointsman.routers.types import Budget, Prices, RouteRequest

Floats = npt.NDArray[np.float64]

#: How often prices and averages are noted down.
_NOTE_S = 5.0


@dataclass(frozen=True, slots=True)
class Setup:
    """How the gateway runs in the simulation.

    Attributes:
        budget: What a request may spend on average.
        fixed: Prices that never move, instead of a controller; None for prices that hold the budget.
        replicas: Gateway processes; arrivals are dealt to them at random.
        sync_s: How often each tells the others what it spent.
        delay_s: How long it takes to hear of the others.
        gains: How prices move.
    """

    budget: AverageBudget
    fixed: Prices | None = None
    replicas: int = 2
    sync_s: float = 1.0
    delay_s: float = 0.05
    gains: Gains = field(default_factory=Gains)


@dataclass(frozen=True, slots=True, eq=False)
class SimulationRun:
    """What became of every request, shape (n,) each; NaN where nobody answered.

    Attributes:
        at_s: When it arrived.
        expert: Column of who answered; -1 when nobody could.
        score: Quality of the answer.
        cost_usd: What it cost.
        energy_j: What it took.
        ttft_ms: Time to first token.
        noted_s: When prices were noted, shape (k,).
        prices: Per dollar, joule and millisecond, mean over the replicas, shape (k, 3).
    """

    at_s: Floats
    expert: npt.NDArray[np.int64]
    score: Floats
    cost_usd: Floats
    energy_j: Floats
    ttft_ms: Floats
    noted_s: Floats
    prices: Floats


def simulate(
    world: World,
    scenario: Scenario,
    traffic: TrafficTrace,
    setup: Setup,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> SimulationRun:
    """Run the traffic through the gateway.

    Args:
        world: Pool, router and outcomes.
        scenario: What fails, and when.
        traffic: Who asks what, and when.
        setup: Budget and replicas.
        seed: Of the machines' times and of which replica a request meets.
        progress: Told the share that is done.
    """
    return _Simulation(world, scenario, traffic, setup, seed).run(progress)


class _Simulation:
    def __init__(self, world: World, scenario: Scenario, traffic: TrafficTrace, setup: Setup, seed: int) -> None:
        self._world, self._scenario, self._traffic, self._setup = world, scenario, traffic, setup
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._machines = [Machines(spec, seed + i) for i, spec in enumerate(world.pool)]
        self._column = {spec.name: j for j, spec in enumerate(world.pool)}
        self._replicas = [
            Replica(str(index), world.pool, self._pricing(), self._clock) for index in range(setup.replicas)
        ]
        self._notices = ReplicaReports()
        self._dealt = np.random.default_rng(seed).integers(0, setup.replicas, len(traffic.arrivals)).tolist()
        n = len(traffic.arrivals)
        self._expert = np.full(n, -1, dtype=np.int64)
        self._score, self._cost, self._energy, self._ttft = (np.full(n, np.nan) for _ in range(4))
        self._noted: list[tuple[float, float, float, float]] = []

    def _clock(self) -> float:
        return self._now_s

    def _pricing(self) -> PriceSource:
        setup = self._setup
        return PriceController(setup.budget, 0.0, setup.gains) if setup.fixed is None else FixedPrices(setup.fixed)

    def run(self, progress: Callable[[float], None]) -> SimulationRun:
        at_s = self._traffic.arrivals.at_s
        end_s = float(at_s[-1])
        for index, replica in enumerate(self._replicas):
            # Replicas do not report in step.
            self._every(self._setup.sync_s, self._setup.sync_s * index / len(self._replicas), end_s, replica)
        self._note(end_s)
        for i, moment_s in enumerate(at_s.tolist()):
            self._run_until(moment_s)
            self._arrive(i)
            if i % 500 == 0:
                progress(i / len(at_s))
        self._run_until(float("inf"))
        progress(1.0)
        notes = np.array(self._noted).reshape(-1, 4)
        return SimulationRun(
            at_s, self._expert, self._score, self._cost, self._energy, self._ttft, notes[:, 0], notes[:, 1:]
        )

    def _at(self, moment_s: float, event: Callable[[], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._events, (moment_s, self._scheduled, event))

    def _run_until(self, moment_s: float) -> None:
        while self._events and self._events[0][0] <= moment_s:
            self._now_s, _, event = heapq.heappop(self._events)
            event()
        if moment_s != float("inf"):
            self._now_s = moment_s

    def _arrive(self, i: int) -> None:
        row, prompt_tokens = int(self._traffic.rows[i]), int(self._traffic.arrivals.prompt_tokens[i])
        replica = self._replicas[self._dealt[i]]
        request = RouteRequest(
            id="",
            text=self._world.prompts[row],
            prompt_tokens=prompt_tokens,
            budget=Budget(prices=replica.pricing.prices(self._now_s)),
        )
        decision = self._world.router.select(self._world.assessments[row], request, replica.pool.snapshot())
        for name in filter(None, (decision.expert, *decision.fallbacks)):
            if self._fails(name):
                replica.pool.begin(name, stream=True).fail("the expert is down")
                continue
            foreseen = Spending.of(*decision.explanation.spends(name))
            self._answer(i, replica, name, row, prompt_tokens, foreseen)
            return

    def _fails(self, name: str) -> bool:
        outage = self._scenario.outage
        return outage is not None and name == outage.expert and outage.span.from_s <= self._now_s < outage.span.until_s

    def _answer(self, i: int, replica: Replica, name: str, row: int, prompt_tokens: int, foreseen: Spending) -> None:
        column = self._column[name]
        spec, machines = self._world.pool[column], self._machines[column]
        tokens = float(self._world.answer_tokens[row, column])
        decided_s = self._now_s
        replica.pricing.spent(foreseen)
        flight = replica.pool.begin(name, stream=True, prompt_tokens=prompt_tokens)
        timing = machines.call(self._now_s, prompt_tokens, tokens)
        ttft_ms = timing.first_token_s * 1000

        def first_token() -> None:
            flight.first_byte()
            replica.pricing.spent(Spending.first_token(ttft_ms, self._setup.budget))

        def last_token() -> None:
            machines.done()
            flight.finish(Usage(prompt_tokens, round(tokens)))
            cost = None if spec.price is None else spec.price.cost_usd(prompt_tokens, tokens)
            energy = None
            if spec.energy is not None:
                energy = spec.energy.energy_j(prompt_tokens, tokens) * self._scenario.energy_factor
            replica.pricing.settled(correction(foreseen, cost, energy), decided_s)
            self._expert[i], self._score[i], self._ttft[i] = column, self._world.scores[row, column], ttft_ms
            self._cost[i] = np.nan if cost is None else cost
            self._energy[i] = np.nan if energy is None else energy

        self._at(self._now_s + timing.first_token_s, first_token)
        self._at(self._now_s + timing.last_token_s, last_token)

    def _every(self, seconds: float, first_s: float, end_s: float, replica: Replica) -> None:
        def sync() -> None:
            silence = self._scenario.silence
            if silence is None or not silence.from_s <= self._now_s < silence.until_s:
                heard = replica.report_to(self._notices)
                self._at(self._now_s + self._setup.delay_s, heard)
            if self._now_s + seconds <= end_s:
                self._at(self._now_s + seconds, sync)

        self._at(first_s, sync)

    def _note(self, end_s: float) -> None:
        def note() -> None:
            now = [replica.pricing.prices(self._now_s) for replica in self._replicas]
            self._noted.append(
                (
                    self._now_s,
                    sum(price.per_usd for price in now) / len(now),
                    sum(price.per_j for price in now) / len(now),
                    sum(price.per_ttft_ms for price in now) / len(now),
                )
            )
            if self._now_s + _NOTE_S <= end_s:
                self._at(self._now_s + _NOTE_S, note)

        self._at(0.0, note)
