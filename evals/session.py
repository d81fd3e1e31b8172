"""One run of `pointsman eval` or `pointsman train`: the composition root of the harness."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from evals import baselines
from evals.errors import EvalError
from evals.evaluate import evaluate, expert_rows
from evals.fitting import fit_on_table, save_fitted
from evals.policies import Policy, Trial, make_trial
from evals.prices import find_prices, with_prices
from evals.provenance import provenance
from evals.replay import Replay, expert_specs, replay
from evals.report import Report
from evals.tables import OutcomeTable, load_table
from evals.terminal import print_report
from routers.protocols import Router

Step = Callable[[float], None]

#: Name of the router that is fitted when none is named.
FITTED = "fitted"


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What `pointsman eval` was asked for; the fields are its options."""

    table: Path
    routers: tuple[str, ...] = ()
    split: str = "test"
    train_split: str = "train"
    prices: str | None = None
    models: tuple[str, ...] | None = None
    min_coverage: float = 0.95
    sparse: bool = False
    generalists: tuple[str, ...] = ()
    seed: int = 0
    resamples: int = 1000
    embedder: str | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `pointsman train` was asked for; the fields are its options."""

    table: Path
    out: Path
    train_split: str = "train"
    models: tuple[str, ...] | None = None
    min_coverage: float = 0.05
    embedder: str | None = None
    name: str | None = None
    seed: int = 0
    command: str = ""


def run_eval(options: EvalOptions, json_file: Path | None = None, html_file: Path | None = None) -> Report:
    """Evaluate, print the table, write the files.

    Raises:
        EvalError: The table, the prices or the options do not allow it.
        RouterError: A router cannot be loaded or fitted.
    """
    # With the JSON on standard output the table goes where it does not mix with it.
    to_stdout = str(json_file) == "-"
    console = Console(stderr=to_stdout)
    for path in (json_file, html_file):
        if path is not None and not path.absolute().parent.is_dir():
            raise EvalError(f"{path}: no such folder to write into")
    with _progress() as start:
        report = build_report(options, start)
        page = None
        if html_file is not None:
            from evals.page import render_page

            step = start("drawing")
            page = render_page(report)
            step(1.0)
    print_report(report, console)
    if to_stdout:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    elif json_file is not None:
        report.write_json(json_file)
    if html_file is not None and page is not None:
        html_file.write_text(page, encoding="utf-8")
    return report


def build_report(options: EvalOptions, start: Callable[[str], Step]) -> Report:
    """Evaluate without printing or writing.

    Args:
        options: What was asked for.
        start: Called with the name of each stage; gives back what is told of its progress in [0, 1].

    Raises:
        EvalError: The table, the prices or the options do not allow it.
        RouterError: A router cannot be loaded or fitted.
    """
    step = start("reading")
    table = _open(options)
    step(0.5)
    trial = make_trial(table, options.split, options.train_split, options.sparse)
    step(1.0)
    if unknown := [name for name in options.generalists if name not in table.experts]:
        raise EvalError(f"--generalist {', '.join(unknown)}: not in the pool {', '.join(table.experts)}")
    routers, notes = _routers(options, trial, start)
    view = expert_specs(trial, options.generalists)
    policies: list[Policy] = []
    yardsticks = baselines.baselines(trial)
    for name, router, remarks in routers:
        done = replay(router, trial, view, name, start(f"routing: {name}"))
        policy = done.policy.noting(*remarks, *_remarks(done, trial))
        policies.append(policy)
        yardsticks.append(baselines.random_matched(trial, policy))
        predicted = _predicted_category(trial, router, done)
        if predicted is not None:
            yardsticks.append(predicted)
    everyone = [*policies, *yardsticks]
    rows = evaluate(trial, everyone, options.resamples, options.seed, start("bootstrap"))
    return Report(
        provenance=provenance(
            table,
            trial,
            split=options.split,
            train_split=options.train_split,
            sparse=options.sparse,
            resamples=options.resamples,
            seed=options.seed,
            command=options.command,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=notes,
        ),
        pool=expert_rows(trial),
        categories={name: trial.test.categories.count(name) for name in sorted(set(trial.test.categories))},
        routers=rows,
    )


def run_train(options: TrainOptions) -> None:
    """Fit, write the artefact, say what came of it.

    Raises:
        EvalError: The table does not allow it.
        RouterError: The router cannot be fitted.
    """
    console = Console()
    with _progress() as start:
        step = start("reading")
        table = load_table(options.table)
        if options.models is not None:
            table = table.pool(options.models)
        part = table.split(options.train_split)
        if not len(part):
            raise EvalError(f"{table.name} has no prompt in split {options.train_split!r}")
        part = part.covering(options.min_coverage)
        step(1.0)
        fitted = fit_on_table(part, options.name or table.name, options.embedder, options.seed, start("fitting"))
    artifact_hash = save_fitted(options.out, fitted)
    console.print(
        f"Fitted on {len(part):,} {options.train_split} prompts and {len(part.experts)} experts of {table.name}."
    )
    for name, why in part.left_out.items():
        if why != "not asked for":
            console.print(f"  {name} is left out: {why}", style="yellow")
    console.print(f"Wrote {options.out} (artefact {artifact_hash[:12]}).")
    console.print(f"Evaluate it: pointsman eval --table {options.table} --router {options.out}")


def _open(options: EvalOptions) -> OutcomeTable:
    table = load_table(options.table)
    if options.models is not None:
        table = table.pool(options.models)
    if options.prices == "none":
        table = replace(table, cost_usd=table.cost_usd * float("nan"), cost_basis="none")
    elif options.prices is not None:
        table = with_prices(table, Path(options.prices))
    elif table.cost_basis == "none" and (found := find_prices(options.table)) is not None:
        table = _with_found_prices(table, found)
    evaluated = table.split(options.split)
    if not len(evaluated):
        raise EvalError(
            f"{table.name} has no prompt in split {options.split!r}; it has {', '.join(sorted(set(table.splits)))}"
        )
    kept = evaluated.covering(options.min_coverage)
    if kept.experts == table.experts:
        return table
    return replace(table.pool(kept.experts), left_out=kept.left_out)


def _with_found_prices(table: OutcomeTable, found: Path) -> OutcomeTable:
    """A price list that nobody asked for is taken when it has something to say, and left otherwise."""
    try:
        priced = with_prices(table, found)
    except EvalError:
        return table
    return priced


def _routers(
    options: EvalOptions, trial: Trial, start: Callable[[str], Step]
) -> tuple[list[tuple[str, Router, tuple[str, ...]]], list[str]]:
    """Name, router and remarks of each router asked for; and notes on the run."""
    from routers.artifacts import load_router

    found: list[tuple[str, Router, tuple[str, ...]]] = []
    for given in dict.fromkeys(options.routers):
        if given in baselines.NAMES:
            continue  # every baseline runs anyway
        router = load_router(given)
        name = given if given == "default" else Path(given).resolve().name
        taken = {other for other, *_ in found} | set(baselines.NAMES)
        found.append((given if name in taken else name, router, ()))
    if options.routers:
        return found, []
    if not len(trial.train):
        return [], [f"no router named, and no prompt in split {options.train_split!r} to fit one on: baselines alone"]
    fitted = fit_on_table(trial.train, FITTED, options.embedder, options.seed, start("fitting"))
    note = (
        f"no router named: `{FITTED}` was fitted on the {len(trial.train):,} prompts of split {options.train_split!r}"
    )
    return [(FITTED, fitted.router(), ())], [note]


def _remarks(done: Replay, trial: Trial) -> tuple[str, ...]:
    remarks = []
    pool = set(trial.test.experts)
    if not done.known:
        fitted = ", ".join(sorted(done.foreign)[:5]) + (" and others" if len(done.foreign) > 5 else "")
        remarks.append(
            "fitted on other experts"
            + (f" ({fitted})" if done.foreign else "")
            + ": it knows none of this pool, so its choices rest on priors alone and say nothing about routing"
        )
    elif done.known != pool:
        remarks.append(f"was not fitted on {', '.join(sorted(pool - done.known))}: their quality is a prior")
    if trial.has_costs and not done.swept:
        remarks.append("its curve was asked point by point: the utility is not linear in the cost weight")
    return tuple(remarks)


def _predicted_category(trial: Trial, router: Router, done: Replay) -> Policy | None:
    """Category to best expert with the router's own labels; the mapping from true labels where those are the table's.

    Where the router has other categories, the mapping is chosen on the labels it gives the train prompts.
    """
    from evals.replay import requests

    predicted = [
        max(one.classification.posterior, key=one.classification.posterior.__getitem__) for one in done.assessments
    ]
    if len(set(predicted)) < 2 or not len(trial.train):
        return None
    known = {label for one in done.assessments[:1] for label in one.classification.posterior}
    labels: Sequence[str] = trial.train.categories
    if not set(labels) <= known:
        assessed = (router.assess(request).classification.posterior for request in requests(trial.train))
        labels = [max(posterior, key=posterior.__getitem__) for posterior in assessed]
    return baselines.by_category(trial, f"category_predicted[{done.policy.name}]", labels, predicted)


@contextmanager
def _progress() -> Iterator[Callable[[str], Step]]:
    """Progress bars on standard error; gives a function that starts the bar of a stage."""
    columns = (TextColumn("{task.description:>24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def start(stage: str) -> Step:
            task = bars.add_task(stage, total=1.0)
            return lambda share: bars.update(task, completed=share)

        yield start
