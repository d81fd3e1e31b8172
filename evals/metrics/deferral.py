"""Two experts, one strong and one weak: how much of the gap is recovered per share of prompts deferred to the strong.

RouteLLM (arXiv 2406.18665), definitions as in its published code: PGR, APGR, CPT.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def deferral_curve(score: Floats, weak: Floats, strong: Floats, bins: int = 10) -> tuple[Floats, Floats]:
    """Quality against the share of prompts that go to the strong expert, as a threshold on the score sweeps.

    Thresholds are the edges of `bins` quantile bins of the score (RouteLLM: 10, so 11 points); a prompt goes to the
    strong expert where its score is at or above the threshold, above the last one.

    Args:
        score: Belief that the strong expert is worth it, shape (n,).
        weak: Quality of the weak expert per prompt, shape (n,).
        strong: The same of the strong one.
        bins: Number of quantile bins.

    Returns:
        Share of strong calls from 0 to 1 (rising) and mean quality, at most bins + 1 points.
    """
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    edges = np.unique(np.quantile(ranked, np.linspace(0, 1, bins + 1)[:-1]))
    first = np.append(np.searchsorted(ranked, edges, side="left"), score.size)[::-1]
    # Sums up to each threshold instead of a mask per threshold: a bootstrap comes here thousands of times.
    below = np.concatenate([[0.0], weak[order].cumsum()])
    above = np.concatenate([[0.0], strong[order].cumsum()])
    return (score.size - first) / score.size, (below[first] + above[-1] - above[first]) / score.size


def pgr(quality: Floats, weak: float, strong: float) -> Floats:
    """Performance gap recovered: (r - r_weak) / (r_strong - r_weak); NaN when the strong expert is not better."""
    if strong <= weak:
        return np.full(np.shape(quality), np.nan)
    return np.asarray((quality - weak) / (strong - weak))


def apgr(share: Floats, quality: Floats, weak: float, strong: float) -> float:
    """Average PGR: area under PGR against the share of strong calls, by trapezoids over the curve's points.

    0.5 for random routing, above 1 only where the weak expert is right when the strong one is not. As in RouteLLM's
    code the area between the curve's outermost points is taken as it stands, without extrapolating to 0 and 1.
    """
    gained = pgr(quality, weak, strong)
    return float((np.diff(share) * (gained[1:] + gained[:-1]) / 2).sum())


def cpt(share: Floats, quality: Floats, weak: float, strong: float, target: float) -> float:
    """Call-performance threshold: least share of strong calls with PGR at `target`, by linear interpolation.

    Args:
        share: Of strong calls, rising, shape (k,).
        quality: Mean quality there, shape (k,).
        weak: Mean quality of the weak expert.
        strong: Mean quality of the strong expert.
        target: In (0, 1], 0.5 for CPT(50 %).

    Returns:
        A share in [0, 1]; NaN when the curve never gets there.
    """
    gained = pgr(quality, weak, strong)
    above = np.flatnonzero(gained >= target)
    if not above.size:
        return float("nan")
    at = int(above[0])
    if at == 0 or gained[at] == gained[at - 1]:
        return float(share[at])
    part = (target - gained[at - 1]) / (gained[at] - gained[at - 1])
    return float(share[at - 1] + part * (share[at] - share[at - 1]))


def calls_for_quality(share: Floats, quality: Floats, target: float) -> float:
    """Least share of strong calls at which mean quality reaches `target`, by linear interpolation of the curve.

    RouteLLM's "95 % of GPT-4's performance" with `target` = 0.95 times the strong expert's mean. 0 when the weak
    expert alone is that good, NaN when the curve never gets there; arguments as `cpt`.
    """
    above = np.flatnonzero(quality >= target)
    if not above.size:
        return float("nan")
    at = int(above[0])
    if at == 0:
        return float(share[0])
    part = (target - quality[at - 1]) / (quality[at] - quality[at - 1])
    return float(share[at - 1] + part * (share[at] - share[at - 1]))
