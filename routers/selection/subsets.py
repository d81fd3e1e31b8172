"""Coarse selection: which experts to keep awake (MoE², arXiv 2501.09410).

    maximise F(S) = Σ_x w_x max_{n in S} q̂_n(x)     subject to the worst cases of S (`worst_case`)

F rises with S and has falling returns (facility location), and every subset of an admissible set is admissible. So this
is a discrete monotonic programme; `best_subset` solves it by branch and bound, best bound first, and can be stopped at
any time: what it has then is an admissible set and a proven upper bound on all others.

The sum of the k largest is linear once its k-th largest member is known: for every t >= 0 it is at most
k·t + Σ_n max(E_n - t, 0), with equality at that member's energy. A branch therefore carries a range of such pivots t,
relaxed to one knapsack, and is split until the range is a point.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Floats
from pointsman.routers.selection.subset_bounds import Relaxation, relax
from pointsman.routers.selection.worst_case import AwakeSetLimits

Members = npt.NDArray[np.intp]

_ROOT_STEPS = 200
_NODE_STEPS = 25


@dataclass(frozen=True, slots=True)
class Selection:
    """An awake set.

    Attributes:
        members: Columns of the quality matrix, in ascending order; nobody who adds nothing.
        value: F of them.
        upper_bound: No admissible set has a larger F (up to the tolerance that was asked for).
        nodes: Branches that were bounded.
    """

    members: tuple[int, ...]
    value: float
    upper_bound: float
    nodes: int

    @property
    def gap(self) -> float:
        """How much better another set could be at most; 0 when the set is proven best."""
        return max(self.upper_bound - self.value, 0.0)


def best_subset(
    quality: Floats,
    weights: Floats,
    limits: AwakeSetLimits,
    *,
    tolerance: float = 1e-9,
    max_nodes: int = 100_000,
    should_stop: Callable[[], bool] = lambda: False,
) -> Selection:
    """The awake set of largest expected best quality.

    Args:
        quality: Predicted quality of each expert on each prompt, at least 0; 0 where the pair is barred; shape (p, n).
        weights: Share of each prompt, at least 0, shape (p,).
        limits: What the set must keep to.
        tolerance: Stop when the gap is at most this.
        max_nodes: Stop after bounding so many branches.
        should_stop: Asked before each branch, so that a caller with a clock can end the search.

    Returns:
        The best set found with its proven bound; the empty set with F = 0 where no expert is admissible alone.

    Raises:
        ValueError: Shapes disagree, or a quality or weight is negative or not finite.
    """
    _check(quality, weights)
    search = _Search(quality * weights[:, None], limits)
    heap: list[tuple[float, int, _Branch]] = []
    ticket = count()
    nodes = 0

    def push(branch: _Branch, steps: int) -> None:
        nonlocal nodes
        nodes += 1
        if (bounded := search.bound(branch, steps)) and bounded.bound > search.value + tolerance:
            heapq.heappush(heap, (-bounded.bound, next(ticket), bounded))

    push(search.root(), _ROOT_STEPS)
    while heap and nodes < max_nodes and not should_stop():
        branch = heap[0][2]
        if branch.bound <= search.value + tolerance:
            break
        heapq.heappop(heap)
        for child in search.split(branch):
            push(child, _NODE_STEPS)
    upper = max(search.value, -heap[0][0]) if heap else search.value
    return Selection(tuple(int(n) for n in search.needed()), search.value, upper, nodes)


def _check(quality: Floats, weights: Floats) -> None:
    if quality.ndim != 2 or weights.shape != quality.shape[:1]:
        raise ValueError(f"quality of shape {quality.shape} and weights of shape {weights.shape} do not go together")
    if not (
        np.isfinite(quality).all() and np.isfinite(weights).all() and (quality >= 0).all() and (weights >= 0).all()
    ):
        raise ValueError("qualities and weights must be finite and at least 0")


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """All sets that hold `awake` and otherwise only `free` experts, with a k-th largest energy in a range of pivots."""

    awake: Members
    free: Members
    pivots: tuple[int, int]
    prices: Floats
    reached: Floats
    bound: float = np.inf
    relaxation: Relaxation | None = None


class _Search:
    """What all branches share, and the best set found so far."""

    def __init__(self, weighted: Floats, limits: AwakeSetLimits) -> None:
        self._weighted = weighted
        self._limits = limits
        self._amounts = np.array([r.amounts for r in limits.resources]).reshape(-1, weighted.shape[1])
        self._room = np.array([r.limit for r in limits.resources], dtype=np.float64)
        self._usable = np.flatnonzero(limits.alone(weighted.shape[1]) & weighted.any(axis=0))
        energy = limits.energy
        self._pivots = np.zeros(1)
        if energy is not None:
            # A pivot above a k-th of the cap leaves no room.
            joules = energy.worst_j[self._usable]
            self._pivots = np.unique(np.append(joules[joules * energy.k <= energy.limit_j], 0.0))
        self.chosen = np.zeros(weighted.shape[1], dtype=np.bool_)
        self.value = 0.0
        self._improve(np.array([], dtype=np.intp))

    def root(self) -> _Branch:
        nothing = np.zeros(len(self._weighted))
        prices = self._weighted[:, self._usable].max(axis=1, initial=0.0) / 2
        return _Branch(np.array([], np.intp), self._usable, (0, len(self._pivots) - 1), prices, nothing)

    def bound(self, branch: _Branch, steps: int) -> _Branch | None:
        """The branch with its bound and without experts that no better set in it can use; None if nothing is in it."""
        amounts, room = self._knapsacks(branch.pivots)
        left = room - amounts[:, branch.awake].sum(axis=1)
        slackness = 1e-9 * np.maximum(1.0, np.abs(room))
        if (left < -slackness).any():
            return None
        left = np.maximum(left, 0.0) + slackness
        free = branch.free[(amounts[:, branch.free] <= left[:, None]).all(axis=0)]
        base = float(branch.reached.sum())
        if not len(free):
            self._improve(branch.awake, free)
            return replace(branch, free=free, bound=base)
        gains = np.maximum(self._weighted[:, free] - branch.reached[:, None], 0.0)
        relaxed = relax(gains, amounts[:, free], left, branch.prices, self.value - base, steps)
        self._improve(branch.awake, free[np.argsort(-relaxed.share * relaxed.worth, kind="stable")])
        # Experts that the bound says must stay asleep in every set better than the best known.
        keep = (relaxed.share > 0) | (base + relaxed.gain - relaxed.slack > self.value)
        kept = Relaxation(relaxed.gain, relaxed.prices, relaxed.worth[keep], relaxed.share[keep], relaxed.slack[keep])
        bound = min(base + relaxed.gain, branch.bound)
        return replace(branch, free=free[keep], prices=relaxed.prices, bound=bound, relaxation=kept)

    def split(self, branch: _Branch) -> list[_Branch]:
        """Two branches that share out the sets of one; none when it holds a single set."""
        low, high = branch.pivots
        if low < high:
            middle = (low + high) // 2
            return [replace(branch, pivots=(low, middle)), replace(branch, pivots=(middle + 1, high))]
        if not len(branch.free):
            return []
        assert branch.relaxation is not None  # noqa: S101 (only bounded branches are split)
        share, worth = branch.relaxation.share, branch.relaxation.worth
        # The undecided expert, and of those (or of the decided) the one that matters most.
        at = int(np.argmax(worth * (1.0 + 1e3 * ((share > 1e-9) & (share < 1 - 1e-9)))))
        expert = branch.free[at]
        others = np.delete(branch.free, at)
        reached = np.maximum(branch.reached, self._weighted[:, expert])
        dearer = np.maximum(branch.prices - (reached - branch.reached), 0.0)
        awake = np.append(branch.awake, expert)
        return [replace(branch, awake=awake, free=others, prices=dearer, reached=reached), replace(branch, free=others)]

    def needed(self) -> Members:
        """The best set without members that add nothing to it; of two that stand in for each other the larger goes."""
        members = np.flatnonzero(self.chosen)
        for expert in members[np.argsort(-self._shares()[members], kind="stable")]:
            rest = members[members != expert]
            if self._value(rest) >= self.value - 1e-12:
                members = rest
        return members

    def _knapsacks(self, pivots: tuple[int, int]) -> tuple[Floats, Floats]:
        """Amounts (r, n) and limits (r,) of the resources, and of energy relaxed over a range of pivots."""
        energy = self._limits.energy
        if energy is None:
            return self._amounts, self._room
        over = np.maximum(energy.worst_j - self._pivots[pivots[1]], 0.0)
        room = energy.limit_j - energy.k * self._pivots[pivots[0]]
        return np.vstack([self._amounts, over]), np.append(self._room, room)

    def _improve(self, awake: Members, order: Members | None = None) -> None:
        """See whether a set near by is better than the best known: greedy, or experts in an order as they fit."""
        if order is None:
            found = max((self._greedy(awake, dense) for dense in (False, True)), key=self._value)
            found = self._exchange(found)
        else:
            found = self._fill(awake, order)
        if (value := self._value(found)) > self.value:
            if order is not None:
                found = self._exchange(found)
                value = self._value(found)
            self.value = value
            self.chosen[:] = False
            self.chosen[found] = True

    def _value(self, members: Members) -> float:
        return float(self._weighted[:, members].max(axis=1, initial=0.0).sum())

    def _fill(self, awake: Members, order: Members) -> Members:
        for expert in order:
            more = np.append(awake, expert)
            if self._limits.allows(more):
                awake = more
        return awake

    def _greedy(self, awake: Members, dense: bool) -> Members:
        """Wake the expert that adds most (per share of what is left, if `dense`) as long as one fits."""
        reached = self._weighted[:, awake].max(axis=1, initial=0.0)
        cost = self._shares()
        while True:
            fits = [n for n in self._usable if n not in awake and self._limits.allows(np.append(awake, n))]
            if not fits:
                return awake
            gains = np.maximum(self._weighted[:, fits] - reached[:, None], 0.0).sum(axis=0)
            at = int(np.argmax(gains / cost[fits] if dense else gains))
            if gains[at] <= 0:
                return awake
            awake = np.append(awake, fits[at])
            reached = np.maximum(reached, self._weighted[:, fits[at]])

    def _exchange(self, members: Members) -> Members:
        """Swap one member for one sleeper, or fill what a swap freed, as long as that helps."""
        value = self._value(members)
        for _ in range(10):
            best = members
            for out in range(len(members)):
                rest = np.delete(members, out)
                reached = self._weighted[:, rest].max(axis=1, initial=0.0)
                reachable = np.maximum(self._weighted[:, self._usable], reached[:, None]).sum(axis=0)
                for at in np.argsort(-reachable, kind="stable"):
                    if reachable[at] <= value + 1e-12:
                        break
                    swapped = np.append(rest, self._usable[at])
                    if self._usable[at] not in rest and self._limits.allows(swapped):
                        best, value = swapped, float(reachable[at])
                        break
            if best is members:
                return members
            members = self._greedy(best, dense=False)
            value = self._value(members)
        return members

    def _shares(self) -> Floats:
        """The largest share of any limit that each expert takes, shape (n,)."""
        share = np.full(self._weighted.shape[1], 1e-6)
        for amounts, limit in zip(self._amounts, self._room, strict=True):
            share = np.fmax(share, amounts / max(limit, 1e-12))
        if (energy := self._limits.energy) is not None:
            share = np.fmax(share, energy.worst_j / max(energy.limit_j, 1e-12))
        return share
