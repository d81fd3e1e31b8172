"""How many experts a prompt needs: the smallest set that holds more than p of the probability of being best.

Top-p routing of Dynamic-MoE (arXiv 2403.07652) one level up: experts are models, and the probability is a softmax of
predicted quality, p_n = exp(q_n / T) / Σ_j exp(q_j / T). At a fixed p the size of the set depends on T alone, so T
has to be calibrated first: fitted on outcomes, `pointsman.routers.training.width`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Figures, Floats


def probability_best(quality: Figures, temperature: float) -> Floats:
    """Probability of each expert to be the best one on a prompt.

    Args:
        quality: Predicted, shape (n, m).
        temperature: Above 0.

    Returns:
        Rows that sum to 1, shape (n, m).
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature:g}")
    scaled = np.asarray(quality, dtype=np.float64) / temperature
    share = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def smallest_sets(probability: Floats, p: float) -> npt.NDArray[np.bool_]:
    """The experts to ask: from the most probable on, up to and including the one with which the sum exceeds p.

    Args:
        probability: Rows that sum to 1, shape (n, m).
        p: Strictly between 0 and 1: at 1 no set would ever hold more.

    Returns:
        Shape (n, m), at least one per row.

    Raises:
        ValueError: p is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"p must lie strictly between 0 and 1, not at {p:g}")
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    chosen = np.zeros(probability.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order, before <= p, axis=1)
    return chosen
