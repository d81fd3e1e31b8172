"""The best that prices which never move could have done, found when everything is known.

The terms of the utility are linear in the prices, so one `select` per request gives them for every price, and a search
over prices is array arithmetic. It leaves out what load does (a full expert, a queue): a run of the simulator with the
prices found tells whether that mattered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pointsman.evals.simulate.scenarios import Scenario, TrafficTrace
from pointsman.evals.simulate.world import World
from pointsman.experts.spec import PoolView
from pointsman.routers.selection.prices import AverageBudget
from pointsman.routers.types import Budget, Prices, RouteRequest

Floats = npt.NDArray[np.float64]

#: Settings tried around the multipliers, in each of the two prices.
_AROUND = np.geomspace(0.5, 2.0, 17)


@dataclass(frozen=True, slots=True, eq=False)
class HindsightTable:
    """Every request with every expert, shape (n, m): what the router expects and what would come of it.

    Attributes:
        quality: Predicted; -inf where the expert may not answer (context, outage).
        cost_usd, energy_j: Expected.
        score, spent_usd, spent_j: What would come of it.
    """

    quality: Floats
    cost_usd: Floats
    energy_j: Floats
    score: Floats
    spent_usd: Floats
    spent_j: Floats

    def picks(self, prices: Prices) -> npt.NDArray[np.int64]:
        """Who would be chosen, shape (n,)."""
        utility = self.quality - prices.per_usd * self.cost_usd - prices.per_j * self.energy_j
        return np.asarray(utility.argmax(axis=1), dtype=np.int64)

    def scores(self, prices: Prices) -> Floats:
        """What would come of it, shape (n,)."""
        return np.asarray(self.score[np.arange(len(self.score)), self.picks(prices)])

    def rows(self, keep: npt.NDArray[np.bool_]) -> HindsightTable:
        """Some of the requests."""
        return HindsightTable(*(getattr(self, field.name)[keep] for field in fields(self)))

    def means(self, prices: Prices) -> tuple[float, float, float]:
        """Mean score, cost and energy."""
        at = np.arange(len(self.score)), self.picks(prices)
        return float(self.score[at].mean()), float(self.spent_usd[at].mean()), float(self.spent_j[at].mean())


def open_ledger(
    world: World,
    scenario: Scenario,
    traffic: TrafficTrace,
    from_s: float = 0.0,
    progress: Callable[[float], None] = lambda _: None,
) -> HindsightTable:
    """Ask `select` for the terms of every request.

    Args:
        world: Pool, router and outcomes.
        scenario: What fails, and when.
        traffic: Who asks what, and when.
        from_s: Leave out what arrives before.
        progress: Told the share that is done.
    """
    specs = world.pool
    view = PoolView.of(*specs)
    kept = np.flatnonzero(traffic.arrivals.at_s >= from_s)
    rows, tokens = traffic.rows[kept], traffic.arrivals.prompt_tokens[kept]
    quality = np.full((len(kept), len(specs)), -np.inf)
    cost, energy = np.zeros(quality.shape), np.zeros(quality.shape)
    ask = Budget(prices=Prices(per_usd=1.0, per_j=1.0))
    for i, (row, prompt_tokens) in enumerate(zip(rows.tolist(), tokens.tolist(), strict=True)):
        request = RouteRequest("", world.prompts[row], prompt_tokens, budget=ask)
        decision = world.router.select(world.assessments[row], request, view)
        for j, candidate in enumerate(decision.candidates):
            if candidate.utility is not None:
                quality[i, j] = candidate.terms["quality"]
                cost[i, j], energy[i, j] = -candidate.terms["budget_cost"], -candidate.terms["budget_energy"]
        if i % 1000 == 0:
            progress(i / len(kept))
    progress(1.0)
    if scenario.outage is not None:
        away = scenario.outage.span.holds(traffic.arrivals.at_s[kept])
        quality[away, [spec.name for spec in specs].index(scenario.outage.expert)] = -np.inf
    answered = world.answer_tokens[rows]
    spent_usd, spent_j = np.full(quality.shape, np.nan), np.full(quality.shape, np.nan)
    for j, spec in enumerate(specs):
        if spec.price is not None:
            paid = tokens * spec.price.input_usd_per_mtok + answered[:, j] * spec.price.output_usd_per_mtok
            spent_usd[:, j] = paid / 1e6
        if spec.energy is not None:
            model = spec.energy
            used = model.base_j + tokens * model.j_per_prompt_token + answered[:, j] * model.j_per_completion_token
            spent_j[:, j] = used * scenario.energy_factor
    return HindsightTable(quality, cost, energy, world.scores[rows], spent_usd, spent_j)


def best_fixed_prices(ledger: HindsightTable, budget: AverageBudget) -> Prices:
    """The pair of prices with the highest mean score among those that keep both averages.

    First the multipliers: each price is as low as its average allows given the other, in turn until neither moves. Then
    a grid around them, since predictions are not outcomes.
    """
    found = Prices()
    for _ in range(8):
        found = Prices(_least(ledger, budget.max_cost_usd, found, "usd"), found.per_j)
        found = Prices(found.per_usd, _least(ledger, budget.max_energy_j, found, "j"))
    tried = [
        Prices(found.per_usd * usd, found.per_j * joule)
        for usd in (_AROUND if found.per_usd else (1.0,))
        for joule in (_AROUND if found.per_j else (1.0,))
    ]
    best, highest = found, -np.inf
    for candidate in tried:
        score, usd, joules = ledger.means(candidate)
        if _within(usd, budget.max_cost_usd) and _within(joules, budget.max_energy_j) and score > highest:
            best, highest = candidate, score
    return best


def _within(mean: float, limit: float | None) -> bool:
    return limit is None or mean <= limit * 1.0005


def _least(ledger: HindsightTable, limit: float | None, given: Prices, which: str) -> float:
    """The lowest price at which one average is kept, by bisection on its logarithm; the other price stays."""
    if limit is None:
        return 0.0

    def mean(price: float) -> float:
        asked = Prices(price, given.per_j) if which == "usd" else Prices(given.per_usd, price)
        _, usd, joules = ledger.means(asked)
        return usd if which == "usd" else joules

    if mean(0.0) <= limit:
        return 0.0
    low, high = np.log(1e-6 / limit), np.log(1e3 / limit)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if mean(float(np.exp(middle))) <= limit else (middle, high)
    return float(np.exp(high))
