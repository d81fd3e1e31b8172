"""What a set of awake experts may cost at worst, whichever of them the gate picks (after MoE², arXiv 2501.09410).

    T_c^wc(S) = max_{n in S} T_nc        E^wc(S) = sum of the k largest E_n in S        R(S) = Σ_{n in S} r_n

All three rise with S, which is what a monotone search needs. Latency is held pair by pair: an expert too slow for a
category is never asked in it (the router's filter drops it there), so it may stay awake for the other categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class SharedResource:
    """What awake experts use up together: memory, resident parameters, a number of GPUs.

    Attributes:
        name: With its unit, e.g. `resident_b`.
        amounts: What each expert takes, at least 0, shape (n,); NaN where unknown, and the expert is then left out.
        limit: What there is.
    """

    name: str
    amounts: Floats
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class WorstCaseEnergyCap:
    """A cap on the worst case of one request that asks k experts.

    Attributes:
        worst_j: Worst-case joules of one call to each expert, shape (n,); NaN where unknown, and the expert is then
            left out.
        limit_j: Cap on the sum of the k largest.
        k: Experts asked per request.
    """

    worst_j: Floats
    limit_j: float
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}, a request asks at least one expert")

    def of(self, members: npt.NDArray[np.intp]) -> float:
        """Worst-case joules of a request that asks any k of the members."""
        return float(np.sort(self.worst_j[members])[::-1][: self.k].sum())


@dataclass(frozen=True, slots=True, eq=False)
class AwakeSetLimits:
    """What an awake set must keep to: every resource, and the energy cap if there is one."""

    resources: Sequence[SharedResource] = ()
    energy: WorstCaseEnergyCap | None = None

    def allows(self, members: npt.NDArray[np.intp]) -> bool:
        """Whether a set of experts keeps to all limits; an unknown amount never does."""
        # NaN compares as false, which is meant: a cap rejects what is not known.
        if any(not _within(resource.amounts[members].sum(), resource.limit) for resource in self.resources):
            return False
        return self.energy is None or _within(self.energy.of(members), self.energy.limit_j)

    def alone(self, experts: int) -> Bools:
        """Which experts could be awake by themselves, shape (n,)."""
        return np.array([self.allows(np.array([expert])) for expert in range(experts)], dtype=np.bool_)


def slow_pairs(worst_ms: Floats, limit_ms: Floats) -> Bools:
    """Which experts are too slow for which categories.

    Args:
        worst_ms: Worst-case latency of each expert in each category, shape (C, n); NaN where unknown.
        limit_ms: Cap per category, infinite for none, shape (C,).

    Returns:
        Shape (C, n); unknown latency is too slow under a finite cap.
    """
    return np.asarray(np.isfinite(limit_ms)[:, None] & ~(worst_ms <= limit_ms[:, None]))


def _within(amount: float, limit: float) -> bool:
    # Sums of the same amounts in another order may differ in the last digits.
    return bool(amount <= limit + 1e-9 * max(1.0, abs(limit)))
