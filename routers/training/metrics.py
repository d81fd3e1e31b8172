"""Figures of a classifier and of a choice; NaN where undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def auroc(positive: Floats, negative: Floats) -> float:
    """Probability that a random positive scores above a random negative, ties half (Mann-Whitney U / n₊n₋)."""
    if not len(positive) or not len(negative):
        return math.nan
    values = np.concatenate([positive, negative])
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    _, inverse = np.unique(values, return_inverse=True)
    ranks = (np.bincount(inverse, ranks) / np.bincount(inverse))[inverse]
    u = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(u / (len(positive) * len(negative)))


def expected_calibration_error(confidence: Floats, correct: Floats, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their counts (Guo et al. 2017)."""
    if not len(confidence):
        return math.nan
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    gaps = np.abs(np.bincount(index, confidence, bins) - np.bincount(index, correct.astype(float), bins))
    return float(gaps.sum() / counts.sum())


def routed_quality(predicted: Floats, scores: Floats) -> float:
    """Mean score of the expert of highest predicted quality; prompts where it is unscored are left out."""
    if not len(predicted):
        return math.nan
    chosen = scores[np.arange(len(scores)), predicted.argmax(axis=1)]
    return float(np.nanmean(chosen)) if np.isfinite(chosen).any() else math.nan


def best_single_quality(train_means: Floats, scores: Floats) -> float:
    """Mean score of the expert that is best by `train_means`; NaN where it was never scored."""
    column = scores[:, int(np.argmax(train_means))] if scores.size else np.empty(0)
    return float(np.nanmean(column)) if np.isfinite(column).any() else math.nan


def selection_accuracy(predicted: Floats, scores: Floats, tolerance: float = 1e-12) -> float:
    """Share of fully scored prompts for which one of the truly best experts is picked (Tryage, arXiv 2308.11601)."""
    full = np.isfinite(scores).all(axis=1)
    if not full.any():
        return math.nan
    best = scores[full].max(axis=1)
    chosen = scores[full][np.arange(int(full.sum())), predicted[full].argmax(axis=1)]
    return float((chosen >= best - tolerance).mean())
