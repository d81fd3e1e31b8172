"""Aggregate quality and its place between the best single expert and the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def mean_known(values: Floats) -> float:
    """Mean over the prompts that have a value; NaN when none has."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def gap_closed(quality: Floats, best_single: Floats, oracle: Floats) -> Floats:
    """Share of the gap from best single to oracle that a router closes: (q - q_single) / (q_oracle - q_single).

    0 is no better than always asking the best single expert, 1 is the oracle, negative is worse than not routing.
    NaN where there is no gap.
    """
    gap = np.asarray(oracle - best_single, dtype=np.float64)
    gain = np.asarray(quality - best_single, dtype=np.float64)
    return np.asarray(np.divide(gain, gap, out=np.full(np.broadcast(gain, gap).shape, np.nan), where=gap > 1e-12))


def gain_over_single(quality: float, best_single: float) -> float:
    """LLMRouterBench's Gain@B: relative gain over the best single expert, q / q_single - 1; NaN where that is 0."""
    return quality / best_single - 1 if best_single > 0 else float("nan")


def gap_to_oracle(quality: float, oracle: float) -> float:
    """LLMRouterBench's Gap@O: relative shortfall to the oracle, 1 - q / q_oracle; NaN where that is 0."""
    return 1 - quality / oracle if oracle > 0 else float("nan")


def by_label(values: Floats, labels: Sequence[str]) -> dict[str, float]:
    """Mean of `values`, shape (n,), per label in sorted order; NaN for a label without any known value."""
    of = np.array(labels)
    return {label: mean_known(values[of == label]) for label in sorted(set(labels))}


def coverage(values: Floats) -> float:
    """Share of prompts with a known value; 1 for a table without holes."""
    return float(np.isfinite(values).mean()) if values.size else float("nan")
