"""Is predicted quality what it says?"""

from __future__ import annotations

from pointsman.evals.metrics import calibration
from pointsman.evals.metrics.metric import metric
from pointsman.evals.router_result import RouterResult


@metric(title="Brier", better="lower", terminal_rank=None)
def brier(result: RouterResult) -> float:
    """Mean squared error of predicted quality, over all experts and prompts."""
    predicted = result.policy.predicted
    return float("nan") if predicted is None else calibration.brier(predicted, result.trial.test.scores)


@metric(title="ECE", better="lower", terminal_rank=None)
def calibration_error(result: RouterResult) -> float:
    """Expected calibration error of predicted quality, over all experts and prompts in ten equal bins."""
    predicted = result.policy.predicted
    if predicted is None:
        return float("nan")
    return calibration.expected_calibration_error(calibration.reliability(predicted, result.trial.test.scores))
