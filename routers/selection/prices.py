"""Average budgets: prices that move with the traffic until its averages are what the operator allows.

A cap rules over one request. An average budget ("at most 120 J and $0.002 a request over ten minutes, p95 of the time
to first token under 800 ms") rules over many, and one price for all of them is how to spend it well: with the prices as
the multipliers of the constraints, choosing the highest priced utility for each prompt alone maximises the quality of
all together (Lagrangian duality; Boyd & Vandenberghe, Convex Optimization, §5.4).

The level x of a price follows mirror descent on the dual, online: after a stretch in which n requests spent s where the
budget is b each,

    x += k/N · (s/b - n  +  n · d),      price = scale · (exp(x) - 1) / b,      0 <= x <= x_max

N is the number of requests that a window holds at the present rate, k the gain per window. The steps telescope: over
any stretch in which x stays within its bounds, what was spent beyond the budget is the change of x over k windows, so a
level that settles holds the average exactly. That is the integral action; the bounds are its anti-windup. d is the mean
of s/b - 1 over the sliding window, with forgetting, and at least 0: what was overspent is paid back. What was saved is
not spent: after a stretch in which the budget did not bind, that would break the average of the next window.
The level is logarithmic in the price where the price matters, and exactly 0 where the budget does not bind; b and
`scale` make the same gains serve dollars, joules and shares.

A quantile is an average too: p95 of the time to first token is within T when on average 5 % of the answers come later
than T (the subgradient of the pinball loss; Koenker & Bassett 1978). Its price is on the expected time to first token.

What a request will spend is counted when it is decided, by its estimates, and put right when it is known: the prices
need not wait for answers that are under way.

Spendings add up, so replicas that report theirs see the traffic of all. Without reports each uses its own.
Time is an argument; nothing here reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pointsman.routers.types import Prices

#: Share of the answers that may come later than a bound on the 95th percentile.
LATE_SHARE = 0.05

#: The part of the sliding window that tells how dense the traffic is now.
_RECENT = 0.1

#: Where the prices of cost, energy and late answers stand.
Levels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class AverageBudget:
    """What the operator allows a request on average; None for no budget.

    Attributes:
        window_s: Over how long the averages are meant.
        max_cost_usd: Mean cost of a request in US dollars.
        max_energy_j: Mean energy of a request in joules.
        p95_ttft_ms: 95th percentile of the time to first token.
    """

    window_s: float = 600.0
    max_cost_usd: float | None = None
    max_energy_j: float | None = None
    p95_ttft_ms: float | None = None

    @property
    def limits(self) -> tuple[float | None, float | None, float | None]:
        """Allowed mean of cost, energy, and the share of late answers."""
        return self.max_cost_usd, self.max_energy_j, None if self.p95_ttft_ms is None else LATE_SHARE


@dataclass(frozen=True, slots=True)
class Spending:
    """What some requests spent. Additive: of stretches of time, and of replicas.

    Attributes:
        priced: Requests whose cost is known or foreseen.
        cost_usd: Their cost.
        metered: Requests whose energy is known or foreseen.
        energy_j: Their energy.
        timed: Answers whose first token has come.
        late: Those of them that came later than the budget's bound.
    """

    priced: float = 0.0
    cost_usd: float = 0.0
    metered: float = 0.0
    energy_j: float = 0.0
    timed: float = 0.0
    late: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.priced + other.priced,
            self.cost_usd + other.cost_usd,
            self.metered + other.metered,
            self.energy_j + other.energy_j,
            self.timed + other.timed,
            self.late + other.late,
        )

    def __sub__(self, other: Spending) -> Spending:
        return Spending(
            self.priced - other.priced,
            self.cost_usd - other.cost_usd,
            self.metered - other.metered,
            self.energy_j - other.energy_j,
            self.timed - other.timed,
            self.late - other.late,
        )

    @property
    def means(self) -> tuple[float, float, float]:
        """Mean cost, mean energy, share of late answers; NaN where nothing was counted."""
        return (
            _ratio(self.cost_usd, self.priced),
            _ratio(self.energy_j, self.metered),
            _ratio(self.late, self.timed),
        )

    @classmethod
    def of(cls, cost_usd: float | None, energy_j: float | None) -> Spending:
        """Of one request, foreseen or known; None where unknown: then it is not counted, and never as 0."""
        return cls(
            priced=0.0 if cost_usd is None else 1.0,
            cost_usd=cost_usd or 0.0,
            metered=0.0 if energy_j is None else 1.0,
            energy_j=energy_j or 0.0,
        )

    @classmethod
    def first_token(cls, ttft_ms: float, budget: AverageBudget) -> Spending:
        """Of an answer whose first token has come."""
        late = budget.p95_ttft_ms is not None and ttft_ms > budget.p95_ttft_ms
        return cls(timed=1.0, late=float(late))


@dataclass(frozen=True, slots=True)
class Gains:
    """How prices move.

    Attributes:
        per_window: k: by how many e-folds a price moves when a whole window of requests spends twice the budget.
        late_per_window: The same for the share of late answers, a rarer and so a noisier sign.
        most_per_request: Bound on k/N, so that thin traffic does not make a price jump with every request.
        scale: Price of the whole budget, in quality, from which on the price moves by factors; below it, by steps.
        max_level: Bound on the level x. At 10, a request that costs the whole budget pays 22,000 times `scale`: then
            quality is beside the point.
        max_debt: Bound on what is paid back, as a share of the budget.
    """

    per_window: float = 45.0
    late_per_window: float = 6.0
    most_per_request: float = 0.03
    scale: float = 0.02
    max_level: float = 10.0
    max_debt: float = 0.5


_GAINS = Gains()


@dataclass(frozen=True, slots=True)
class PriceState:
    """Where the prices stand, and what the sliding window remembers; each of cost, energy and late answers.

    Attributes:
        levels: x of each price.
        counted: Requests in the window, with forgetting.
        recent: Requests in a tenth of the window, with forgetting: how dense the traffic is now.
        excess: Σ (s/b - n) in the window, with forgetting.
        age_s: How long it has been watching.
    """

    levels: Levels = (0.0, 0.0, 0.0)
    counted: tuple[float, float, float] = (0.0, 0.0, 0.0)
    recent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    excess: tuple[float, float, float] = (0.0, 0.0, 0.0)
    age_s: float = 0.0


def updated(
    state: PriceState, budget: AverageBudget, spending: Spending, elapsed_s: float, gains: Gains = _GAINS
) -> PriceState:
    """The state after a stretch of time.

    Args:
        state: Before.
        budget: What is allowed.
        spending: What was spent in that stretch, by all who share the budget. Figures may be negative: a request that
            was foreseen and failed is taken back.
        elapsed_s: How long it was.
        gains: How prices move.
    """
    # A window that forgets exponentially remembers on average as old requests as one of twice its length that is cut.
    memory_s = budget.window_s / 2
    age_s = state.age_s + elapsed_s
    keep, keep_recent = math.exp(-elapsed_s / memory_s), math.exp(-elapsed_s / (memory_s * _RECENT))
    # At first the sliding windows have not seen all the traffic they will hold.
    full, full_recent = _filled(age_s, memory_s), _filled(age_s, memory_s * _RECENT)
    per_window = (gains.per_window, gains.per_window, gains.late_per_window)
    levels, counted, recent, excess = [], [], [], []
    for i, (count, amount) in enumerate(_each(spending)):
        limit = budget.limits[i]
        over = 0.0 if limit is None else amount / limit - count
        many = max(state.counted[i] * keep + count, 0.0)
        now = max(state.recent[i] * keep_recent + count, 0.0)
        window = max(many / full, 1.0)
        debt = state.excess[i] * keep + over
        gain = min(per_window[i] / max(now / full_recent / _RECENT, 1.0), gains.most_per_request)
        step = gain * (over + count * min(max(debt / window, 0.0), gains.max_debt))
        # No single report moves a price by more than an e-fold: it may hold a whole outage's worth of another replica.
        levels.append(min(max(state.levels[i] + min(max(step, -1.0), 1.0), 0.0), gains.max_level))
        counted.append(many)
        recent.append(now)
        excess.append(debt)
    return PriceState(_three(levels), _three(counted), _three(recent), _three(excess), age_s)


def prices(state: PriceState, budget: AverageBudget, gains: Gains = _GAINS) -> Prices:
    """The prices that decisions are made with, in quality per natural unit."""
    bounds = (budget.max_cost_usd, budget.max_energy_j, budget.p95_ttft_ms)
    return Prices(
        *(
            0.0 if bound is None else gains.scale * math.expm1(level) / bound
            for level, bound in zip(state.levels, bounds, strict=True)
        )
    )


def correction(foreseen: Spending, cost_usd: float | None, energy_j: float | None) -> Spending:
    """What to add when it is known what a request spent; nothing where it is not: then the estimate stands."""
    known = Spending.of(cost_usd, energy_j)
    if cost_usd is None:
        foreseen = replace(foreseen, priced=0.0, cost_usd=0.0)
    if energy_j is None:
        foreseen = replace(foreseen, metered=0.0, energy_j=0.0)
    return known - foreseen


def averages(state: PriceState, budget: AverageBudget) -> tuple[float, float, float]:
    """Mean cost, mean energy and share of late answers in the sliding window; NaN where nothing was counted."""
    return _three(
        [
            math.nan if limit is None or count <= 0.0 else limit * (1.0 + over / count)
            for limit, count, over in zip(budget.limits, state.counted, state.excess, strict=True)
        ]
    )


def in_step(state: PriceState, levels: Sequence[Levels]) -> PriceState:
    """The state with the mean of all replicas' levels.

    Replicas that see the same traffic move alike; after they were apart, this brings them together.

    Args:
        state: Of this replica.
        levels: Of every replica that takes part, at least one; this one's among them if they should count.
    """
    mean = _three([sum(column) / len(levels) for column in zip(*levels, strict=True)])
    return replace(state, levels=mean)


def _each(spending: Spending) -> tuple[tuple[float, float], ...]:
    return (
        (spending.priced, spending.cost_usd),
        (spending.metered, spending.energy_j),
        (spending.timed, spending.late),
    )


def _filled(age_s: float, memory_s: float) -> float:
    """How much of a window that forgets is filled after some time."""
    return -math.expm1(-max(age_s, 1e-6) / memory_s)


def _ratio(amount: float, count: float) -> float:
    return amount / count if count > 0.0 else math.nan


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third
