"""Calibrate who is best: the temperature under which the experts that were best are most probable."""

from __future__ import annotations

import numpy as np

from pointsman.routers.arrays import Figures
from pointsman.routers.selection.width import probability_best

#: ln T is sought between these: from certain to indifferent, for qualities in [0, 1].
_COLDEST, _HOTTEST = -6.0, 3.0


def fit_temperature(quality: Figures, scores: Figures) -> float:
    """The temperature of greatest likelihood. Experts that share the first place share the credit for it.

    Args:
        quality: Out-of-fold predictions, shape (n, m).
        scores: Shape (n, m), every cell scored.
    """
    from scipy.optimize import minimize_scalar

    best = scores == scores.max(axis=1, keepdims=True)
    credit = best / best.sum(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        share = probability_best(quality, float(np.exp(log_temperature)))
        return float(-(credit * np.log(np.maximum(share, 1e-300))).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(_COLDEST, _HOTTEST), method="bounded").x))
