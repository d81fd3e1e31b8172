"""Average budgets: prices that move with the traffic against the best prices that never move, found in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pointsman.evals.fitting import fit_on_table
from pointsman.evals.metrics.bootstrap import interval, resample_counts
from pointsman.evals.metrics.budgets import sliding_means
from pointsman.evals.plan_pool import read_pool
from pointsman.evals.simulate import DEFAULT_POOL
from pointsman.evals.simulate.engine import Setup, SimulationRun, simulate
from pointsman.evals.simulate.hindsight import best_fixed_prices, open_ledger
from pointsman.evals.simulate.report import kept_budgets
from pointsman.evals.simulate.scenarios import (
    Arrivals,
    Burst,
    Drift,
    Outage,
    Scenario,
    Span,
    TrafficTrace,
    read_arrivals,
    traffic,
)
from pointsman.evals.simulate.world import World, make_world
from pointsman.evals.studies.drawing import BLACK, BLUE, GREY, ORANGE, axes, save
from pointsman.evals.studies.study import Study, StudyContext
from pointsman.evals.tables import load_table
from pointsman.routers.selection.prices import AverageBudget

Floats = npt.NDArray[np.float64]

_BUDGET = AverageBudget(window_s=600.0, max_cost_usd=0.0004, max_energy_j=250.0, p95_ttft_ms=800.0)
_WARM_UP_S = 600.0
_REPLICAS = 3

_HARD = ("math", "physics", "engineering", "chemistry")

#: Scenario, and the moments at which it changes: within them fixed prices are computed again.
_SCENARIOS: tuple[tuple[Scenario, tuple[float, ...]], ...] = (
    (Scenario("as recorded"), ()),
    (Scenario("mix shifts to mathematics and science", drift=Drift(1800.0, _HARD)), (1800.0,)),
    (Scenario("an expert fails", outage=Outage("DeepSeek-Coder-V2", Span(1500.0, 2400.0))), (1500.0, 2400.0)),
    (Scenario("tenfold burst", burst=Burst(Span(1800.0, 1980.0))), (1800.0, 1980.0)),
    (Scenario("energy 25 % above what is stated", energy_factor=1.25), ()),
    (Scenario("replicas apart for 15 minutes", silence=Span(1500.0, 2400.0)), ()),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """One scenario under one seed.

    Attributes:
        run: With prices that move.
        rows: Prompt of each request.
        fixed: Score of each request under the best prices for the whole time; NaN in the warm-up.
        by_phase: The same with prices computed again at each change.
    """

    run: SimulationRun
    rows: npt.NDArray[np.int64]
    fixed: Floats
    by_phase: Floats


def _run(ground: StudyContext) -> str:
    world, arrivals = _world(ground)
    seeds = range(1 if ground.quick else 3)
    found: list[list[_Trial]] = []
    total = len(_SCENARIOS) * len(seeds)
    for scenario, changes in _SCENARIOS:
        trials = []
        for seed in seeds:
            trials.append(_trial(world, scenario, changes, arrivals, seed))
            ground.progress((len(found) * len(seeds) + len(trials)) / total)
        found.append(trials)
    _draw(ground, [trials[0] for trials in found[:4]])
    resamples = 200 if ground.quick else 1000
    return _page(world, arrivals, found, len(seeds), resamples)


def _world(ground: StudyContext) -> tuple[World, Arrivals]:
    pool = read_pool(DEFAULT_POOL)
    table = load_table(ground.data / "mmlu_pro").pool([spec.artifact_name for spec in pool])
    router = fit_on_table(table.split("train"), "average budgets").router()
    arrivals = read_arrivals(ground.data / "energy_latency" / "azure_llm_trace_2023.parquet")
    return make_world(table.split("test"), pool, router), arrivals


def _trial(world: World, scenario: Scenario, changes: tuple[float, ...], arrivals: Arrivals, seed: int) -> _Trial:
    asked = traffic(arrivals, world.categories, scenario, seed)
    run = simulate(world, scenario, asked, Setup(_BUDGET, replicas=_REPLICAS), seed)
    fixed, by_phase = _fixed(world, scenario, changes, asked)
    return _Trial(run, asked.rows, fixed, by_phase)


def _fixed(world: World, scenario: Scenario, changes: tuple[float, ...], asked: TrafficTrace) -> tuple[Floats, Floats]:
    """Scores under the best fixed prices: for the whole time, and computed again in each phase."""
    at_s = asked.arrivals.at_s
    ledger = open_ledger(world, scenario, asked, _WARM_UP_S)
    after = np.flatnonzero(at_s >= _WARM_UP_S)
    whole, phased = np.full(len(at_s), np.nan), np.full(len(at_s), np.nan)
    whole[after] = ledger.scores(best_fixed_prices(ledger, _BUDGET))
    phase = np.searchsorted(np.array(changes), at_s[after], side="right")
    for one in np.unique(phase):
        here = phase == one
        part = ledger.rows(here)
        phased[after[here]] = part.scores(best_fixed_prices(part, _BUDGET))
    return whole, phased


def _difference(trials: Sequence[_Trial], against: str, resamples: int) -> tuple[float, float, float]:
    """Relative difference of mean quality to fixed prices, with its interval: a bootstrap over prompts."""
    prompts = int(max(trial.rows.max() for trial in trials)) + 1
    ours, theirs = np.zeros(prompts), np.zeros(prompts)
    for trial in trials:
        fixed = getattr(trial, against)
        both = np.isfinite(trial.run.score) & np.isfinite(fixed)
        ours += np.bincount(trial.rows[both], trial.run.score[both], prompts)
        theirs += np.bincount(trial.rows[both], fixed[both], prompts)
    samples = [
        (counts @ ours) / (counts @ theirs) - 1 for counts in resample_counts(np.arange(prompts), resamples, seed=0)
    ]
    low, high = interval(np.concatenate(samples))
    return float(ours.sum() / theirs.sum() - 1), low, high


def _page(world: World, arrivals: Arrivals, found: list[list[_Trial]], seeds: int, resamples: int) -> str:
    kept_rows, quality_rows = [], []
    for (scenario, changes), trials in zip(_SCENARIOS, found, strict=True):
        cells = []
        kept = [kept_budgets(trial.run, _BUDGET, _WARM_UP_S) for trial in trials]
        for name in ("cost_usd", "energy_j"):
            mean = np.mean([one[name].mean / one[name].allowed - 1 for one in kept])
            high = max(one[name].highest / one[name].allowed - 1 for one in kept)
            within = np.mean([one[name].within for one in kept])
            cells.append(f"{mean:+.1%} | {high:+.1%} | {within:.1%}")
        late = max(one["late_share"].highest for one in kept)
        refused = np.mean([(trial.run.expert < 0).mean() for trial in trials])
        kept_rows.append(f"| {scenario.name} | {' | '.join(cells)} | {late:.1%} | {refused:.2%} |")
        after = [trial.run.score[trial.run.at_s >= _WARM_UP_S] for trial in trials]
        quality = np.nanmean(np.concatenate(after))
        whole, phased = (_difference(trials, name, resamples) for name in ("fixed", "by_phase"))
        phases = _told(phased) if changes else "the same"
        quality_rows.append(f"| {scenario.name} | {quality:.4f} | {_told(whole)} | {phases} |")
    hour = arrivals.at_s[-1] / 60
    return f"""\
An operator states "at most {_BUDGET.max_energy_j:g} J and ${_BUDGET.max_cost_usd:g} a request on average over ten
minutes, p95 of the time to first token under {_BUDGET.p95_ttft_ms:g} ms". Prices on joules, dollars and milliseconds
move with the traffic until its averages are that ([how](../budgets.md)). Does that hold the averages, and what does it
cost in quality against prices that never move and were found knowing everything?

**Setting.** Arrivals and prompt lengths: Azure's LLM inference trace of 2023 ({len(arrivals):,} requests in
{hour:.0f} minutes). Prompts, scores and answer lengths: the {len(world.prompts):,} test prompts of mmlu_pro on which
all {len(world.pool)} experts of `evals/simulate/pool.yaml` are scored, drawn with replacement; the router is fitted on
the train split. Energy of two experts is measured (ML.ENERGY v3), that of the others, and of reading prompts, is
estimated; each at the one operating point that the pool file states. {_REPLICAS} replicas tell each other once a
second what they spent. Seeds of prompts, machines and replicas: {seeds}. The first {_WARM_UP_S / 60:.0f} minutes are
warm-up and left out. The simulator calls the same `select` on the same `ExpertPool` with the same `PriceController` as
the gateway; the clock, the machines and what the replicas share are simulated.

## The averages

Sliding windows of ten minutes, one every 10 s, none touching the warm-up. Mean is over all requests after the warm-up;
highest is the worst window of any seed; within is the share of windows at most 2 % above the budget. Late is the
highest share of answers in a window whose first token came later than {_BUDGET.p95_ttft_ms:g} ms (5 % is allowed).

| scenario | cost: mean | highest | within | energy: mean | highest | within | late: highest | refused |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(kept_rows)}

![Sliding averages of cost and energy over time](figures/average_budgets.svg)

The mean is far below a budget that does not bind: with DeepSeek-Coder-V2 away, cost binds and joules are left over.
What was left over is not spent afterwards, since that would break the windows that follow. The highest windows are
mostly those that end within seconds of a rush of long prompts, such as the one the trace ends with.

## What it costs in quality

The best pair of fixed prices was searched over {len(world.pool)} experts and every request with all outcomes known: the
multipliers that keep both averages, then a grid around them. *For the whole time* it keeps the averages over the hour
and not in every window; *by phase* it is found anew at each change, which needs to know when
things change. Both leave out the time to first token and full experts. Relative differences of mean quality on the same
requests, with 95 % intervals (bootstrap over prompts, {resamples:,} resamples).

| scenario | quality | against fixed prices for the whole time | against fixed prices by phase |
|---|---|---|---|
{chr(10).join(quality_rows)}
"""


def _told(figures: tuple[float, float, float]) -> str:
    mean, low, high = figures
    return f"{mean:+.2%} ({low:+.2%} to {high:+.2%})"


def _draw(ground: StudyContext, trials: Sequence[_Trial]) -> None:
    figure, row = axes(len(trials), (11.0, 2.6), sharey=True)
    moments = np.arange(60.0, 3510.0, 30.0)
    for ax, trial, (scenario, changes) in zip(row, trials, _SCENARIOS, strict=False):
        mean = partial(sliding_means, trial.run.at_s, window_s=_BUDGET.window_s, ends_s=moments)
        ax.plot(moments / 60, 100 * mean(spent=trial.run.cost_usd) / (_BUDGET.max_cost_usd or 1), color=BLUE)
        ax.plot(moments / 60, 100 * mean(spent=trial.run.energy_j) / (_BUDGET.max_energy_j or 1), color=ORANGE)
        ax.axhline(100, color=BLACK, lw=0.7, ls=":")
        ax.axhspan(98, 102, color=GREY, alpha=0.2, lw=0)
        ax.axvspan(0, _WARM_UP_S / 60, color=GREY, alpha=0.15, lw=0)
        for change in changes:
            ax.axvline(change / 60, color=GREY, lw=0.7)
        ax.set_title(scenario.name, fontsize=8)
        ax.set_xlabel("minutes", fontsize=7)
        ax.set_ylim(60, 130)
    row[0].set_ylabel("% of the budget, last 10 minutes", fontsize=7)
    row[0].legend(row[0].get_lines()[:2], ["cost", "energy"], fontsize=7, frameon=False)
    save(figure, ground.figures / "average_budgets.svg")


STUDY = Study("average_budgets", "Average budgets under an hour of traffic", ("mmlu_pro", "energy_latency"), _run)
