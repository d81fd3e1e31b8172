"""How long a decision takes."""

from __future__ import annotations

import numpy as np

from pointsman.evals.metrics.metric import metric
from pointsman.evals.router_result import RouterResult


@metric(title="p50 ms", unit="ms", better="lower", headline=True, terminal_rank=None)
def latency_p50_ms(result: RouterResult) -> float:
    """Median time of one whole decision, `assess` and `select`, on the machine at hand."""
    return _quantile(result, 0.5)


@metric(title="p99 ms", unit="ms", better="lower", headline=True, terminal_rank=None)
def latency_p99_ms(result: RouterResult) -> float:
    """99th percentile of the time of one whole decision, `assess` and `select`, on the machine at hand."""
    return _quantile(result, 0.99)


def _quantile(result: RouterResult, level: float) -> float:
    times = result.policy.latency_ms
    return float("nan") if times is None else float(np.quantile(times, level))
