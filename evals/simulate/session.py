"""What `pointsman simulate` does: read, fit or load, run, say what came of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pointsman.evals.errors import EvalError
from pointsman.evals.fitting import fit_on_table
from pointsman.evals.plan_pool import read_pool
from pointsman.evals.session import progress_bars
from pointsman.evals.simulate.engine import Setup, simulate
from pointsman.evals.simulate.hindsight import best_fixed_prices, open_ledger
from pointsman.evals.simulate.page import print_simulation, render_page
from pointsman.evals.simulate.report import SimulationProvenance, SimulationReport, make_report
from pointsman.evals.simulate.scenarios import Scenario, TrafficTrace, read_arrivals, traffic
from pointsman.evals.simulate.world import World, make_world
from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.experts.spec import ExpertSpec
from pointsman.routers.artifacts import load_router
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.selection.prices import AverageBudget

Step = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What was asked for; see `pointsman simulate --help`."""

    table: Path
    trace: Path
    pool: Path
    router: str | None
    split: str
    train_split: str
    budget: AverageBudget
    scenario: Scenario
    warm_up_s: float
    replicas: int
    most_s: float | None
    compare: bool
    seed: int
    command: str
    date: str


def run_simulation(options: SimulateOptions, json_file: Path | None, html_file: Path | None) -> SimulationReport:
    """Simulate, print, write the files.

    Raises:
        EvalError: A file or an option does not allow it.
        RouterError: The router cannot be loaded or fitted.
    """
    to_stdout = str(json_file) == "-"
    console = Console(stderr=to_stdout)
    for path in (json_file, html_file):
        if path is not None and not path.absolute().parent.is_dir():
            raise EvalError(f"{path}: no such folder to write into")
    if html_file is not None and importlib.util.find_spec("matplotlib") is None:
        raise EvalError("--html needs matplotlib: pip install 'pointsman[evals]'")
    with progress_bars() as start:
        report = build_simulation(options, start)
        page = render_page(report) if html_file is not None else None
    print_simulation(report, console)
    if to_stdout:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    elif json_file is not None:
        report.write_json(json_file)
    if html_file is not None and page is not None:
        html_file.write_text(page, encoding="utf-8")
    return report


def build_simulation(options: SimulateOptions, start: Callable[[str], Step]) -> SimulationReport:
    """Simulate without printing or writing.

    Args:
        options: What was asked for.
        start: Called with the name of each stage; gives back what is told of its progress in [0, 1].

    Raises:
        EvalError: A file or an option does not allow it.
        RouterError: The router cannot be loaded or fitted.
    """
    step = start("reading")
    table, pool, arrivals = (
        load_table(options.table),
        read_pool(options.pool),
        read_arrivals(options.trace, options.most_s),
    )
    step(1.0)
    _refuse_unknown(options.scenario, pool)
    router = _router(options, table, pool, start)
    world = make_world(table.split(options.split), pool, router, start("assessing"))
    asked = traffic(arrivals, world.categories, options.scenario, options.seed)
    if asked.arrivals.at_s[-1] < options.warm_up_s:
        raise EvalError(f"the traffic lasts {asked.arrivals.at_s[-1]:.0f} s, less than the warm-up")
    setup = Setup(options.budget, replicas=options.replicas)
    run = simulate(world, options.scenario, asked, setup, options.seed, start("simulating"))
    notes = [_hindsight(options, world, asked, start("searching"))] if options.compare else []
    left_out = [spec.name for spec in pool if spec not in world.pool]
    if left_out:
        notes.append(f"not in the table, and left out: {', '.join(left_out)}")
    origin = SimulationProvenance(options.command, options.date, options.trace.stem, options.seed, tuple(notes))
    return make_report(world, options.scenario, setup, run, options.warm_up_s, origin)


def _router(
    options: SimulateOptions, table: OutcomeTable, pool: tuple[ExpertSpec, ...], start: Callable[[str], Step]
) -> RouterProtocol:
    if options.router is not None:
        return load_router(options.router)
    known = [spec.artifact_name for spec in pool if spec.artifact_name in table.experts]
    part = table.split(options.train_split)
    if not known or not len(part):
        raise EvalError(
            f"{table.name} has nothing to fit a router on in split {options.train_split!r}; name a --router"
        )
    return fit_on_table(part.pool(known), table.name, seed=options.seed, progress=start("fitting")).router()


def _refuse_unknown(scenario: Scenario, pool: tuple[ExpertSpec, ...]) -> None:
    names = [spec.name for spec in pool]
    if scenario.outage is not None and scenario.outage.expert not in names:
        raise EvalError(f"--outage {scenario.outage.expert}: not in the pool {', '.join(names)}")


def _hindsight(options: SimulateOptions, world: World, asked: TrafficTrace, step: Step) -> str:
    """What the best prices that never move would have reached."""
    ledger = open_ledger(world, options.scenario, asked, options.warm_up_s, step)
    found = best_fixed_prices(ledger, options.budget)
    score, usd, joules = ledger.means(found)
    return (
        f"the best prices that never move, found in hindsight, reach quality {score:.4f} at ${1000 * usd:.3f} per "
        f"1,000 and {joules:.1f} J over the whole time, whatever they do to a single window"
    )
