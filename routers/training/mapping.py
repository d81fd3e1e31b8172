"""Category-to-expert mapping as a mixed-integer programme (Composition of Experts, arXiv 2412.01868).

    max Σ_c w_c Σ_e s_ce z_ce
    s.t. Σ_e z_ce = 1 for every category c;   z_ce <= y_e;   z, y in {0, 1}
         Σ_e P_e y_e <= B              resident parameters: what must be hosted
         Σ_c w_c Σ_e A_e z_ce <= A     average active parameters: what a prompt costs
         z_ce = 0 where T_ce > T_c     latency

The uncertain category is one more row of s and w: its prompts are those the classifier is unsure of, its scores what
the experts reach on them. Solved by HiGHS through `scipy.optimize.milp`, so this is an offline module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Bools, Floats
from pointsman.routers.errors import RouterError
from pointsman.routers.selection.worst_case import slow_pairs


class MappingLimit(StrEnum):
    """What no mapping can keep to."""

    LATENCY = "max_latency_ms"
    RESIDENT = "max_resident_b"
    ACTIVE = "max_active_b"
    TOGETHER = "limits_together"


class MappingInfeasible(RouterError):
    """No mapping keeps to the limits.

    Attributes:
        limit: Which of them cannot be kept by itself; `TOGETHER` where each could be kept but not all.
    """

    def __init__(self, limit: MappingLimit, detail: str) -> None:
        super().__init__(detail)
        self.limit = limit


@dataclass(frozen=True, slots=True, eq=False)
class MappingProblem:
    """Categories, experts and limits; C categories by n experts.

    Attributes:
        scores: Mean quality (or win rate) of each expert per category, shape (C, n); NaN where unscored, and the
            pair is then not used.
        shares: Traffic share of each category, sums to 1, shape (C,).
        total_b: Resident parameters of each expert in billions, shape (n,); NaN where unknown.
        active_b: Active parameters of each in billions, shape (n,); NaN where unknown.
        worst_ms: Worst-case latency per category, shape (C, n), NaN where unknown; None when no cap is set.
        max_resident_b: Cap B on the resident parameters of all experts used.
        max_active_b: Cap A on the active parameters of a prompt, averaged over the traffic.
        max_latency_ms: Cap per category, shape (C,), or None.

    A figure that is unknown keeps an expert out where a cap is set on it.
    """

    scores: Floats
    shares: Floats
    total_b: Floats
    active_b: Floats
    worst_ms: Floats | None = None
    max_resident_b: float = np.inf
    max_active_b: float = np.inf
    max_latency_ms: Floats | None = None

    def allowed(self) -> Bools:
        """Which pairs may be used at all, shape (C, n)."""
        allowed = np.isfinite(self.scores)
        if np.isfinite(self.max_resident_b):
            allowed &= self.total_b <= self.max_resident_b
        if np.isfinite(self.max_active_b):
            allowed &= np.isfinite(self.active_b)
        if self.max_latency_ms is not None:
            worst = np.full(self.scores.shape, np.nan) if self.worst_ms is None else self.worst_ms
            allowed &= ~slow_pairs(worst, self.max_latency_ms)
        return np.asarray(allowed)


@dataclass(frozen=True, slots=True)
class CategoryMapping:
    """A mapping and what it uses.

    Attributes:
        experts: Column of the expert of each category, C of them.
        value: Expected score, Σ_c w_c s_c,e(c).
        resident_b: Parameters of all experts used, in billions; NaN where one is unknown.
        average_active_b: Active parameters of a prompt on average, in billions; NaN where one is unknown.
    """

    experts: tuple[int, ...]
    value: float
    resident_b: float
    average_active_b: float


def map_categories(problem: MappingProblem) -> CategoryMapping:
    """The best mapping within the limits.

    Raises:
        MappingInfeasible: There is none; `limit` says which limit cannot be kept.
    """
    allowed = problem.allowed()
    if not allowed.any(axis=1).all() or (chosen := _solve(problem, allowed)) is None:
        raise _why(problem)
    return describe(problem, chosen)


def describe(problem: MappingProblem, experts: npt.NDArray[np.intp]) -> CategoryMapping:
    """What a given mapping is worth and uses."""
    rows = np.arange(len(experts))
    return CategoryMapping(
        experts=tuple(int(expert) for expert in experts),
        value=float(problem.shares @ problem.scores[rows, experts]),
        resident_b=float(problem.total_b[np.unique(experts)].sum()),
        average_active_b=float(problem.shares @ problem.active_b[experts]),
    )


def _solve(problem: MappingProblem, allowed: Bools) -> npt.NDArray[np.intp] | None:
    """Column per category, or None when infeasible. Only experts that may serve some category become variables."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    category, expert = np.nonzero(allowed)
    used, column = np.unique(expert, return_inverse=True)
    pairs, experts = len(category), len(used)
    ones, index = np.ones(pairs), np.arange(pairs)

    def matrix(values: Floats, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], height: int) -> csr_array:
        return csr_array((values, (rows, columns)), shape=(height, pairs + experts))

    constraints = [
        LinearConstraint(matrix(ones, category, index, len(problem.shares)), 1.0, 1.0),
        LinearConstraint(
            matrix(np.r_[ones, -ones], np.r_[index, index], np.r_[index, pairs + column], pairs), -np.inf, 0.0
        ),
    ]
    if np.isfinite(problem.max_resident_b):
        row = np.r_[np.zeros(pairs), problem.total_b[used]]
        constraints.append(LinearConstraint(row[None], -np.inf, problem.max_resident_b))
    if np.isfinite(problem.max_active_b):
        row = np.r_[problem.shares[category] * problem.active_b[expert], np.zeros(experts)]
        constraints.append(LinearConstraint(row[None], -np.inf, problem.max_active_b))
    worth = np.r_[problem.shares[category] * problem.scores[category, expert], np.zeros(experts)]
    result = milp(
        -worth,
        constraints=constraints,
        integrality=np.ones(pairs + experts),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    taken = result.x[:pairs] > 0.5
    chosen = np.empty(len(problem.shares), dtype=np.intp)
    chosen[category[taken]] = expert[taken]
    return chosen


def _why(problem: MappingProblem) -> MappingInfeasible:
    """The first limit that rules out every mapping by itself."""
    free = replace(problem, max_resident_b=np.inf, max_active_b=np.inf, max_latency_ms=None)
    if not free.allowed().any(axis=1).all():
        raise ValueError("a category has no scored expert at all")
    slow = replace(free, max_latency_ms=problem.max_latency_ms).allowed().any(axis=1)
    if not slow.all():
        rows = ", ".join(str(row) for row in np.flatnonzero(~slow))
        return MappingInfeasible(MappingLimit.LATENCY, f"no expert is known to be fast enough for category {rows}")
    for limit, alone in (
        (MappingLimit.RESIDENT, replace(free, max_resident_b=problem.max_resident_b)),
        (MappingLimit.ACTIVE, replace(free, max_active_b=problem.max_active_b)),
    ):
        allowed = alone.allowed()
        if not allowed.any(axis=1).all() or _solve(alone, allowed) is None:
            cap = problem.max_resident_b if limit is MappingLimit.RESIDENT else problem.max_active_b
            return MappingInfeasible(limit, f"no mapping keeps to {limit.value} = {cap:g}")
    return MappingInfeasible(MappingLimit.TOGETHER, "each limit can be kept, but not all of them together")
