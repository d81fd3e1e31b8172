"""Paired bootstrap over prompts: every router sees the same resamples, so differences have honest intervals.

Percentile intervals (Efron 1979). Near-duplicate prompts are drawn together, as one cluster: they are not independent
evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def resample_counts(clusters: npt.NDArray[np.int64], resamples: int, seed: int, block: int = 250) -> Iterator[Floats]:
    """How often each prompt occurs in each resample, in blocks so that large tables fit in memory.

    Args:
        clusters: Cluster number of each prompt, shape (n,).
        resamples: How many resamples in all.
        seed: Same seed, same resamples, whatever the block size.
        block: Resamples per block.

    Yields:
        Counts of shape (at most block, n).
    """
    _, members = np.unique(clusters, return_inverse=True)
    groups = int(members.max()) + 1 if members.size else 0
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = np.stack([np.bincount(rng.integers(0, groups, groups), minlength=groups) for _ in range(size)])
        yield counts[:, members].astype(np.float64)


def resampled_means(values: Floats, counts: Floats) -> Floats:
    """Mean of each row of `values` in each resample, over the prompts where it is known.

    Args:
        values: Shape (k, n), NaN where unknown.
        counts: Shape (b, n).

    Returns:
        Shape (k, b); NaN where a resample holds no known value.
    """
    known = np.isfinite(values)
    # Single precision halves the time of what is by far the longest step; seven digits are plenty for an interval.
    drawn = counts.astype(np.float32).T
    total = (np.where(known, values, 0.0).astype(np.float32) @ drawn).astype(np.float64)
    # A table without holes needs no second product.
    size = np.broadcast_to(counts.sum(axis=1), total.shape) if known.all() else known.astype(np.float32) @ drawn
    return np.asarray(np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0))


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap samples, shape (b,); NaNs (undefined resamples) are left out.

    Returns:
        (NaN, NaN) when fewer than half of the resamples are defined.
    """
    known = samples[np.isfinite(samples)]
    if known.size * 2 < samples.size or not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
