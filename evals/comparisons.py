"""Every router against every row it has to beat: paired differences, and p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointsman.evals.baselines import ORACLE
from pointsman.evals.metrics.bootstrap import interval
from pointsman.evals.metrics.multiplicity import bootstrap_p, holm
from pointsman.evals.metrics.quality import mean_known
from pointsman.evals.policies import Kind, Policy
from pointsman.evals.report import Comparison, RouterRow
from pointsman.evals.resampling import PolicyMeasurements, Samples


def compared_pairs(policies: Sequence[Policy]) -> list[tuple[int, int]]:
    """Positions of (router, other) to compare: every router with all that see no answers, two routers once."""
    return [
        (i, j)
        for i, one in enumerate(policies)
        for j, other in enumerate(policies)
        if one.kind is Kind.ROUTER and i != j and other.name != ORACLE and not (other.kind is Kind.ROUTER and j < i)
    ]


def compare(
    rows: Sequence[RouterRow], measured: Sequence[PolicyMeasurements], samples: Samples
) -> tuple[Comparison, ...]:
    """Differences in quality, AIQ and APGR, as far as both sides have them.

    Args:
        rows: The report's rows, in the order of `measured`.
        measured: The policies.
        samples: Of the bootstrap; its pairs are the comparisons.
    """
    found: list[Comparison] = []
    for measure in ("quality", "aiq", "apgr"):
        family = []
        for k, (i, j) in enumerate(samples.pairs):
            if measure == "quality":
                drawn = samples.differences[k]
                difference = mean_known(measured[i].value("quality") - measured[j].value("quality"))
            else:
                of = samples.aiq if measure == "aiq" else samples.apgr
                drawn = of[i] - of[j]
                own, other = rows[i].metrics[measure], rows[j].metrics[measure]
                difference = float("nan") if own is None or other is None else own - other
            p = bootstrap_p(drawn)
            if np.isfinite(difference) and np.isfinite(p):
                family.append((i, j, difference, interval(drawn), p))
        corrected = holm([p for *_, p in family])
        found += [
            Comparison(
                router=rows[i].name,
                against=rows[j].name,
                measure=measure,
                difference=difference,
                ci95=around if np.isfinite(around[0]) else None,
                p=p,
                p_holm=p_holm,
            )
            for (i, j, difference, around, p), p_holm in zip(family, corrected, strict=True)
        ]
    return tuple(found)
