"""The luck of the split, by hand and over real re-splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointsman.evals.protocols.division import Protocol
from pointsman.evals.session import EvalOptions, build_report
from pointsman.evals.spread import spreads


def test_mean_and_deviation_over_real_resplits(
    write_table: Callable[..., Path], synthetic: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    folder = write_table(*synthetic(300))
    reports = [
        build_report(
            EvalOptions(folder, routers=("best_single",), protocol=Protocol.RESPLIT, seed=seed, resamples=0),
            lambda _: lambda _: None,
        )
        for seed in (42, 999, 2024)
    ]
    assert len({report.row("linear").metrics["quality"] for report in reports}) > 1, "another seed is another split"
    assert all("divided again with seed" in " ".join(report.provenance.notes) for report in reports)
    found = {(one.name, one.measure): one for one in spreads(reports)}
    qualities = [report.row("linear").metrics["quality"] or 0.0 for report in reports]
    one = found["linear", "quality"]
    assert one.mean == pytest.approx(np.mean(qualities))
    assert one.deviation == pytest.approx(np.std(qualities, ddof=1))
    assert one.seeds == 3
    # AIQ is known, APGR is not: the pool has three experts.
    assert ("linear", "aiq") in found
    assert ("linear", "apgr") not in found
    assert np.isnan(spreads(reports[:1])[0].deviation)
