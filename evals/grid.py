"""Many evaluations at once: every table with every seed, here or on a cluster; one JSON report of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.evals.parallel import Workers, each
from pointsman.evals.report import EvaluationReport
from pointsman.evals.session import EvalOptions


@dataclass(frozen=True, slots=True)
class GridEvaluation:
    """One finished evaluation.

    Attributes:
        table: Name of the table.
        seed: Of folds, fitting and bootstrap.
        report: What came of it.
    """

    table: str
    seed: int
    report: EvaluationReport


def run_grid(
    like: EvalOptions,
    tables: Sequence[Path],
    seeds: Sequence[int],
    out: Path,
    workers: Workers,
    told: Callable[[GridEvaluation], None] = lambda _: None,
) -> list[GridEvaluation]:
    """Evaluate every table with every seed and write `TABLE-SEED.json` for each.

    Args:
        like: Options of all; table and seed are replaced. Tables are read where the work runs.
        tables: Folders, absolute where other machines take part.
        seeds: Of folds, fitting and bootstrap.
        out: Folder of the reports.
        workers: Where to run.
        told: Called with each evaluation as it is done.

    Returns:
        The evaluations, tables and seeds in the order given.

    Raises:
        EvalError: A table or the options do not allow it, or there is no such cluster.
        RouterError: A router cannot be loaded or fitted.
    """
    out.mkdir(parents=True, exist_ok=True)
    tasks = [replace(like, table=table, seed=seed) for table in tables for seed in seeds]
    found: dict[int, GridEvaluation] = {}
    for at, told_json in each(_evaluate, tasks, workers):
        done = GridEvaluation(
            tasks[at].table.resolve().name, tasks[at].seed, EvaluationReport.model_validate_json(told_json)
        )
        done.report.write_json(out / f"{done.table}-{done.seed}.json")
        found[at] = done
        told(done)
    return [found[at] for at in range(len(tasks))]


def _evaluate(options: EvalOptions) -> str:
    """A report as JSON: text travels between processes of any version."""
    from pointsman.evals.session import build_report

    return build_report(options, lambda _: lambda _: None).model_dump_json()
