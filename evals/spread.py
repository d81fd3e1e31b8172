"""Several seeds of one evaluation: the mean of each figure over them, and how far it strays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pointsman.evals.report import EvaluationReport


@dataclass(frozen=True, slots=True)
class Spread:
    """One row of several reports.

    Attributes:
        table: Name of the table.
        name: Of the router or baseline.
        measure: Name of the metric.
        mean: Over the seeds.
        deviation: Standard deviation over the seeds (n - 1); NaN for one seed. Re-splits share prompts, so it is a
            description of the luck of the split, not a standard error.
        seeds: How many.
    """

    table: str
    name: str
    measure: str
    mean: float
    deviation: float
    seeds: int


MEASURES = ("quality", "quality_minus_best_single", "gap_closed", "aiq", "apgr")


def spreads(reports: Sequence[EvaluationReport], measures: Sequence[str] = MEASURES) -> list[Spread]:
    """Mean and deviation of every row that all reports of a table have; figures unknown in one of them are left out."""
    found = []
    for table in dict.fromkeys(report.provenance.table for report in reports):
        mine = [report for report in reports if report.provenance.table == table]
        names = [row.name for row in mine[0].routers if all(any(o.name == row.name for o in r.routers) for r in mine)]
        for name in names:
            for measure in measures:
                values = [report.row(name).metrics[measure] for report in mine]
                known = [value for value in values if value is not None]
                if len(known) < len(values):
                    continue
                deviation = float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
                found.append(Spread(table, name, measure, float(np.mean(known)), deviation, len(known)))
    return found
