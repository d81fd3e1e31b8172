"""Fit the answer lengths: mean and 95 % quantile per expert and category, and κ so that the quantile holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pointsman.routers.types import FloatArray

Floats = npt.NDArray[Any]

#: Answers a cell needs before its own figures are used.
MIN_ANSWERS = 30
QUANTILE = 0.95
#: Answers an expert needs before anything bounds the length of another one: of fewer, not even the longest is above
#: 95 % of all with 95 % confidence (1 - 0.95^59 > 0.95; S. S. Wilks, 1941).
MIN_EVIDENCE = 59


def fit_lengths(
    tokens: Floats, category: npt.NDArray[np.int64], posterior: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and 95 % quantile of the answers' lengths.

    Args:
        tokens: Shape (n, m), NaN where unknown.
        category: Category index of each prompt, -1 without a label, shape (n,).
        posterior: Held-out posterior of each prompt, shape (n, C); κ is fitted with it.

    Returns:
        Mean and quantile times κ, both of shape (m, C); κ is the least factor >= 1 per expert so that at most
        5 % of its answers are longer than predicted. The quantile is NaN for experts of too few answers.
    """
    experts, categories = tokens.shape[1], posterior.shape[1]
    mean = np.zeros((experts, categories), dtype=np.float32)
    high = np.zeros((experts, categories), dtype=np.float32)
    for expert in range(experts):
        lengths = tokens[:, expert]
        known = np.isfinite(lengths)
        mean[expert] = lengths[known].mean()
        high[expert] = np.quantile(lengths[known], QUANTILE)
        for index in range(categories):
            cell = lengths[known & (category == index)]
            if len(cell) >= MIN_ANSWERS:
                mean[expert, index] = cell.mean()
                high[expert, index] = np.quantile(cell, QUANTILE)
        if known.sum() < MIN_EVIDENCE:
            high[expert] = np.nan
            continue
        predicted = np.maximum(posterior[known] @ high[expert], 1e-9)
        high[expert] *= max(1.0, float(np.quantile(lengths[known] / predicted, QUANTILE)))
    return mean, high
