"""Upper bounds of the awake set's objective, by Lagrangian relaxation (Cornuéjols, Fisher & Nemhauser 1977).

With gains g_xn over what is already awake, Σ_x max_{n in T} g_xn under knapsacks a_r·y <= b_r is at most, for u >= 0,

    L(u) = Σ_x u_x + max { Σ_n ρ_n(u) y_n : a_r·y <= b_r, 0 <= y <= 1 },      ρ_n(u) = Σ_x max(g_xn - u_x, 0)

u = 0 gives the submodular bound (sum of single gains), u = max_n g_xn the value of waking everybody; subgradient steps
find something better than both. The inner maximum is bounded by the knapsack that binds most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointsman.routers.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """The best bound found, and what it says of single experts.

    Attributes:
        gain: Upper bound on what the free experts can add.
        prices: Multipliers u of the prompts at the bound, shape (p,).
        worth: ρ_n at the bound, shape (f,).
        share: Fractional solution y, shape (f,).
        slack: What the bound loses at least when an expert is forced against its share, shape (f,): out if it is wholly
            in, in if it is wholly out.
    """

    gain: float
    prices: Floats
    worth: Floats
    share: Floats
    slack: Floats


def relax(gains: Floats, amounts: Floats, limits: Floats, prices: Floats, target: float, steps: int) -> Relaxation:
    """Bound what free experts can add.

    Args:
        gains: Weighted gain of each free expert on each prompt, at least 0, shape (p, f).
        amounts: What each takes of each knapsack, at least 0, shape (r, f).
        limits: What is left of each, at least 0, shape (r,).
        prices: Multipliers to start from, at least 0, shape (p,).
        target: A gain known to be reachable or of no more interest; stop when the bound is not above it.
        steps: Subgradient steps.
    """
    # Several knapsacks bind together more than any alone: their sum, each scaled to its limit, is one more.
    if len(limits) > 1 and (limits > 0).all():
        amounts = np.vstack([amounts, (amounts / limits[:, None]).sum(axis=0)])
        limits = np.append(limits, float(len(limits)))
    best: Relaxation | None = None
    scale, stale = 1.0, 0
    for _ in range(max(steps, 1)):
        above = gains - prices[:, None]
        over = above > 0
        worth = np.einsum("pf,pf->f", above, over)
        value, share, slack = _knapsack(worth, amounts, limits)
        bound = float(prices.sum()) + value
        if best is None or bound < best.gain - 1e-6 * abs(best.gain):
            best, stale = Relaxation(bound, prices, worth, share, slack), 0
        else:
            stale += 1
            if stale >= 5:
                scale, stale = scale / 2, 0
        direction = 1.0 - over @ share
        length = float(direction @ direction)
        if best.gain <= target or length < 1e-12 or scale < 1e-3:
            break
        prices = np.maximum(prices - scale * (bound - target) / length * direction, 0.0)
    assert best is not None  # noqa: S101 (there is at least one step)
    return best


def _knapsack(worth: Floats, amounts: Floats, limits: Floats) -> tuple[float, Floats, Floats]:
    """The least of the fractional knapsacks (Dantzig 1957): value, solution, and each item's slack."""
    least = (float(worth.sum()), np.ones_like(worth), worth.copy())
    for amount, limit in zip(amounts, limits, strict=True):
        if amount.sum() <= limit:
            continue
        density = np.divide(worth, amount, out=np.full_like(worth, np.inf), where=amount > 0)
        order = np.argsort(-density, kind="stable")
        used = np.cumsum(amount[order])
        last = int(np.searchsorted(used, limit, side="right"))
        share = np.zeros_like(worth)
        share[order[:last]] = 1.0
        item = order[last]
        before = used[last - 1] if last else 0.0
        share[item] = (limit - before) / amount[item]
        value = float(worth @ share)
        if value < least[0]:
            least = (value, share, np.abs(worth - density[item] * amount))
    return least
