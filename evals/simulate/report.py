"""The results of a simulation as JSON: one schema, refused when it does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pointsman.evals.metrics.budgets import sliding_means
from pointsman.evals.simulate.engine import Setup, SimulationRun
from pointsman.evals.simulate.scenarios import Scenario
from pointsman.evals.simulate.world import World
from pointsman.routers.selection.prices import LATE_SHARE, AverageBudget

Floats = npt.NDArray[np.float64]

#: Averages are looked at this often.
_EVERY_S = 10.0

#: The tolerance of `within`.
TOLERANCE = 0.02


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class AverageBudgetAdherence(_Model):
    """How one average budget was kept, over the sliding windows that end after the warm-up.

    Attributes:
        allowed: The budget: US dollars, joules, or the share of late answers.
        mean: Over all requests after the warm-up.
        highest: Of a window.
        lowest: Of a window.
        within: Share of the windows that are at most 2 % above the budget.
    """

    allowed: float
    mean: float
    highest: float
    lowest: float
    within: float


class SimulationSnapshot(_Model):
    """The state of things at one moment; averages are of the window that ends there, None where nobody was answered."""

    at_s: float
    requests_per_s: float
    refused: float
    quality: float | None
    cost_usd: float | None
    energy_j: float | None
    p95_ttft_ms: float | None
    per_usd: float
    per_j: float
    per_ttft_ms: float
    shares: dict[str, float]


class SimulationReport(_Model):
    """A simulated stretch of traffic.

    Attributes:
        command: What was run.
        date: When.
        table: Whose outcomes they are.
        trace: Whose arrivals.
        scenario: What happened.
        budget: What a request was allowed on average.
        replicas: Gateway processes.
        seed: Of prompts, machines and replicas.
        warm_up_s: Left out of all means.
        requests: After the warm-up.
        refused: Share of them that nobody could answer.
        quality: Mean score of those answered.
        cost_usd: Mean.
        energy_j: Mean; as the pool file says, measured or not.
        p95_ttft_ms: Of those answered.
        kept: Budget -> how it was kept.
        shares: Expert -> share of the answers.
        moments: The course of things.
        notes: What a reader must know.
    """

    command: str
    date: str
    table: str
    trace: str
    scenario: dict[str, object]
    budget: dict[str, float | None]
    replicas: int
    seed: int
    warm_up_s: float
    requests: int
    refused: float
    quality: float
    cost_usd: float
    energy_j: float
    p95_ttft_ms: float
    kept: dict[str, AverageBudgetAdherence]
    shares: dict[str, float]
    moments: tuple[SimulationSnapshot, ...]
    notes: tuple[str, ...] = ()

    def write_json(self, path: Path) -> None:
        """Write it."""
        path.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")


@dataclass(frozen=True, slots=True)
class SimulationProvenance:
    """Where a simulation comes from, for its report."""

    command: str
    date: str
    trace: str
    seed: int
    notes: tuple[str, ...] = ()


def kept_budgets(run: SimulationRun, budget: AverageBudget, warm_up_s: float) -> dict[str, AverageBudgetAdherence]:
    """How every stated average was kept, in the sliding windows that hold nothing of the warm-up."""
    late = np.where(np.isfinite(run.ttft_ms), (run.ttft_ms > (budget.p95_ttft_ms or np.inf)).astype(np.float64), np.nan)
    amounts: Mapping[str, tuple[Floats, float | None]] = {
        "cost_usd": (run.cost_usd, budget.max_cost_usd),
        "energy_j": (run.energy_j, budget.max_energy_j),
        "late_share": (late, None if budget.p95_ttft_ms is None else LATE_SHARE),
    }
    ends = np.arange(warm_up_s + budget.window_s, run.at_s[-1] + 1e-9, _EVERY_S)
    after = run.at_s >= warm_up_s
    found = {}
    for name, (spent, allowed) in amounts.items():
        if allowed is None or not len(ends):
            continue
        means = sliding_means(run.at_s, spent, budget.window_s, ends)
        found[name] = AverageBudgetAdherence(
            allowed=allowed,
            mean=float(np.nanmean(spent[after])),
            highest=float(np.nanmax(means)),
            lowest=float(np.nanmin(means)),
            within=float((means[np.isfinite(means)] <= allowed * (1 + TOLERANCE)).mean()),
        )
    return found


def make_report(
    world: World, scenario: Scenario, setup: Setup, run: SimulationRun, warm_up_s: float, origin: SimulationProvenance
) -> SimulationReport:
    """Sum up a run."""
    after = run.at_s >= warm_up_s
    answered = after & (run.expert >= 0)
    names = [spec.name for spec in world.pool]
    return SimulationReport(
        command=origin.command,
        date=origin.date,
        table=world.table,
        trace=origin.trace,
        scenario=asdict(scenario),
        budget=asdict(setup.budget),
        replicas=setup.replicas,
        seed=origin.seed,
        warm_up_s=warm_up_s,
        requests=int(after.sum()),
        refused=float(1 - answered.sum() / max(after.sum(), 1)),
        quality=_mean(run.score[answered]),
        cost_usd=_mean(run.cost_usd[answered]),
        energy_j=_mean(run.energy_j[answered]),
        p95_ttft_ms=_p95(run.ttft_ms[answered]),
        kept=kept_budgets(run, setup.budget, warm_up_s),
        shares={name: float((run.expert[answered] == j).mean()) for j, name in enumerate(names)},
        moments=_moments(run, setup.budget.window_s, names),
        notes=origin.notes,
    )


def _moments(run: SimulationRun, window_s: float, names: list[str]) -> tuple[SimulationSnapshot, ...]:
    ends = np.arange(_EVERY_S * 3, run.at_s[-1] + 1e-9, _EVERY_S * 3)
    quality, cost, energy = (
        sliding_means(run.at_s, values, window_s, ends) for values in (run.score, run.cost_usd, run.energy_j)
    )
    found = []
    for i, end in enumerate(ends.tolist()):
        window = slice(*np.searchsorted(run.at_s, [end - window_s, end], side="right"))
        lately = slice(*np.searchsorted(run.at_s, [end - _EVERY_S * 3, end], side="right"))
        noted = max(int(np.searchsorted(run.noted_s, end, side="right")) - 1, 0)
        asked = run.expert[lately]
        prices = run.prices[noted].tolist()
        found.append(
            SimulationSnapshot(
                at_s=end,
                requests_per_s=len(asked) / (_EVERY_S * 3),
                refused=float((asked < 0).mean()) if len(asked) else 0.0,
                quality=_known(quality[i]),
                cost_usd=_known(cost[i]),
                energy_j=_known(energy[i]),
                p95_ttft_ms=_known(_p95(run.ttft_ms[window])),
                per_usd=prices[0],
                per_j=prices[1],
                per_ttft_ms=prices[2],
                shares={name: float((asked == j).mean()) if len(asked) else 0.0 for j, name in enumerate(names)},
            )
        )
    return tuple(found)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _p95(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, 0.95)) if known.size else float("nan")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
