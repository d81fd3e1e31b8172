"""One run of `pointsman eval` or `pointsman train`: the composition root of the harness."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pointsman.evals import baselines
from pointsman.evals.contenders import FITTED, Contender, Step, compete, contenders
from pointsman.evals.crossfit import merge_folds
from pointsman.evals.errors import EvalError
from pointsman.evals.evaluate import evaluate, expert_rows
from pointsman.evals.fitting import fit_on_table, save_fitted
from pointsman.evals.losses import lost_prompts
from pointsman.evals.policies import Policy, Trial, make_trial
from pointsman.evals.prices import find_prices, with_prices
from pointsman.evals.protocols.division import Protocol, TrialSplit, divide
from pointsman.evals.protocols.onboarding import OnboardingRow
from pointsman.evals.protocols.onboarding_session import onboard_all, onboarding_json, print_onboarding
from pointsman.evals.protocols.resplit import resplit
from pointsman.evals.provenance import provenance
from pointsman.evals.public_routers.beside import public_policies
from pointsman.evals.report import EvaluationReport
from pointsman.evals.tables import OutcomeTable, load_table
from pointsman.evals.terminal import print_report
from pointsman.evals.text_features import TextFeatures, pooled_features, text_features
from pointsman.routers.artifacts import RouterParts


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What `pointsman eval` was asked for; the fields are its options."""

    table: Path
    routers: tuple[str | Contender, ...] = ()
    split: str = "test"
    train_split: str = "train"
    prices: str | None = None
    models: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    min_coverage: float = 0.95
    sparse: bool = False
    generalists: tuple[str, ...] = ()
    folds: int = 5
    seed: int = 0
    resamples: int = 1000
    embedder: str | None = None
    beside: tuple[str, ...] = ()
    protocol: Protocol = Protocol.SPLIT
    newcomers: tuple[str, ...] = ()
    drop_leaks: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `pointsman train` was asked for; the fields are its options."""

    table: Path
    train_split: str = "train"
    models: tuple[str, ...] | None = None
    min_coverage: float = 0.05
    embedder: str | None = None
    head: str = "linear"
    propagate_labels: bool = False
    name: str | None = None
    seed: int = 0


def run_eval(options: EvalOptions, json_file: Path | None = None, html_file: Path | None = None) -> EvaluationReport:
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
    if html_file is not None and importlib.util.find_spec("matplotlib") is None:
        raise EvalError("--html needs matplotlib: pip install 'pointsman[evals]'")
    with progress_bars() as start:
        report = build_report(options, start)
        page = None
        if html_file is not None:
            from pointsman.evals.page import render_page

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


def run_onboarding(options: EvalOptions, json_file: Path | None = None) -> list[OnboardingRow]:
    """Let experts join a pool, print how they do, write the file.

    Raises:
        EvalError: The table or the options do not allow it.
        RouterError: A router cannot be fitted.
    """
    to_stdout = str(json_file) == "-"
    with progress_bars() as start:
        trial = make_trial(_open(options), options.split, options.train_split, options.sparse, options.drop_leaks)
        rows = onboard_all(trial, options.newcomers, options.resamples, options.seed, start)
    print_onboarding(rows, Console(stderr=to_stdout))
    told = onboarding_json(rows, options.command)
    if to_stdout:
        sys.stdout.write(told)
    elif json_file is not None:
        json_file.write_text(told, encoding="utf-8")
    return rows


def build_report(
    options: EvalOptions, start: Callable[[str], Step], read: OutcomeTable | None = None
) -> EvaluationReport:
    """Evaluate without printing or writing.

    Args:
        options: What was asked for.
        start: Called with the name of each stage; gives back what is told of its progress in [0, 1].
        read: The table, where it has been read from `options.table` already.

    Raises:
        EvalError: The table, the prices or the options do not allow it.
        RouterError: A router cannot be loaded or fitted.
    """
    step = start("reading")
    table = _open(options, read)
    if options.protocol is Protocol.RESPLIT:
        table = resplit(table, (options.train_split, options.split), options.seed)
    step(0.5)
    trial = make_trial(table, options.split, options.train_split, options.sparse, options.drop_leaks)
    step(1.0)
    if unknown := [name for name in options.generalists if name not in table.experts]:
        raise EvalError(f"--generalist {', '.join(unknown)}: not in the pool {', '.join(table.experts)}")
    division = divide(trial, options.protocol, options.train_split, options.folds, options.seed)
    notes = [division.note] if division.note else []
    if not options.routers:
        notes.insert(0, f"no router named: `{FITTED}` is fitted here, on prompts that are not evaluated with it")
    routers, yardsticks = _meet(trial, division, contenders(options.routers), options, start)
    everyone = [*routers, *yardsticks, *(baselines.random_matched(trial, policy) for policy in routers)]
    evaluation = evaluate(trial, everyone, options.resamples, options.seed, start("bootstrap"))
    return EvaluationReport(
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
        routers=evaluation.rows,
        comparisons=evaluation.comparisons,
        lost=tuple(one for policy in routers for one in lost_prompts(trial, policy)),
    )


def _meet(
    trial: Trial, division: TrialSplit, named: Sequence[Contender], options: EvalOptions, start: Callable[[str], Step]
) -> tuple[list[Policy], list[Policy]]:
    """Routers and baselines on a trial, fold by fold where it is divided."""

    def on(ground: Trial, features: TextFeatures) -> tuple[list[Policy], list[Policy]]:
        routers, yardsticks = compete(
            ground,
            named,
            start,
            generalists=options.generalists,
            embedder=options.embedder,
            seed=options.seed,
            features=features,
        )
        if options.beside:
            routers += public_policies(ground, options.beside, features, start("public routers"))
        return routers, yardsticks

    if not division.folds:
        return on(trial, text_features(trial.train.prompts, trial.test.prompts, options.seed))
    # Folds are cut from the same prompts: their features are made once, from the words of all and the scores of none.
    texts = (*trial.test.prompts, *trial.train.prompts)
    vectors = pooled_features(texts, options.seed)
    row_of = {text: i for i, text in enumerate(texts)}
    parts = []
    for fold in division.folds:
        ours, theirs = ([row_of[text] for text in part.prompts] for part in (fold.trial.train, fold.trial.test))
        parts.append(on(fold.trial, TextFeatures(vectors[ours], vectors[theirs])))
    return (
        merge_folds(trial, division.folds, [part[0] for part in parts]),
        merge_folds(trial, division.folds, [part[1] for part in parts]),
    )


def fit(
    options: TrainOptions, start: Callable[[str], Step], read: OutcomeTable | None = None
) -> tuple[RouterParts, OutcomeTable]:
    """Fit without printing or writing.

    Args:
        options: What was asked for.
        start: As of `build_report`.
        read: The table, where it has been read from `options.table` already.

    Returns:
        The router, and what it was fitted on.

    Raises:
        EvalError: The table does not allow it.
        RouterError: The router cannot be fitted.
    """
    step = start("reading")
    table = load_table(options.table) if read is None else read
    if options.models is not None:
        table = table.pool(options.models)
    if table.cost_basis == "none" and (found := find_prices(options.table)) is not None:
        table = _with_found_prices(table, found)
    part = table.split(options.train_split)
    if not len(part):
        raise EvalError(f"{table.name} has no prompt in split {options.train_split!r}")
    part = part.covering(options.min_coverage)
    step(1.0)
    fitted = fit_on_table(
        part,
        options.name or table.name,
        options.embedder,
        options.seed,
        start("fitting"),
        head=options.head,
        propagate_labels=options.propagate_labels,
        evidence=True,
    )
    return fitted, part


def run_train(options: TrainOptions, out: Path) -> None:
    """Fit, write the artefact, say what came of it.

    Raises:
        EvalError: The table does not allow it.
        RouterError: The router cannot be fitted.
    """
    console = Console()
    with progress_bars() as start:
        fitted, part = fit(options, start)
    artifact_hash = save_fitted(out, fitted)
    console.print(
        f"Fitted on {len(part):,} {options.train_split} prompts and {len(part.experts)} experts of {part.name}."
    )
    for name, why in part.left_out.items():
        if why != "not asked for":
            console.print(f"  {name} is left out: {why}", style="yellow")
    if fitted.evidence is not None:
        console.print(f"Learned from answers whom to ask next: {', '.join(fitted.evidence.members)}.")
    console.print(f"Wrote {out} (artefact {artifact_hash[:12]}).")
    console.print(f"Evaluate it: pointsman eval --table {options.table} --router {out}")


def _open(options: EvalOptions, read: OutcomeTable | None = None) -> OutcomeTable:
    table = load_table(options.table) if read is None else read
    if options.datasets is not None:
        if unknown := sorted(set(options.datasets) - set(table.datasets)):
            raise EvalError(
                f"{table.name} has no data set {', '.join(unknown)}; {', '.join(sorted(set(table.datasets)))}"
            )
        table = table.rows(np.array([name in options.datasets for name in table.datasets]))
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


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Step]]:
    """Progress bars on standard error; gives a function that starts the bar of a stage."""
    columns = (TextColumn("{task.description:>24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def start(stage: str) -> Step:
            task = bars.add_task(stage, total=1.0)
            return lambda share: bars.update(task, completed=share)

        yield start
