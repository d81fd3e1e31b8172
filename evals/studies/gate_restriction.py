"""MoE²'s optimality-preserving property: a gate trained once on the full pool and masked, against one trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.studies.drawing import axes, save
from pointsman.evals.studies.open_models import OpenModels, load_open_models
from pointsman.evals.studies.study import Study, StudyContext

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
#: Fits on vectors (t, d) and scores (t, m); gives the preference for each expert on vectors (s, d), shape (s, m).
Gate = Callable[[Floats, Floats, Floats], Floats]

#: The loss against retraining that is tolerated on average, in points of quality; the project's tests hold it too.
EPSILON = 0.01
SUBSETS, SIZES = 24, (2, 3, 4, 6, 9)
_RIDGE, _DECAY, _STEPS = 30.0, 1e-3, 60


def heads(vectors: Floats, scores: Floats, asked: Floats) -> Floats:
    """One ridge regression per expert, each fitted without regard to the others."""
    centre, base = vectors.mean(axis=0), scores.mean(axis=0)
    around = vectors - centre
    weights = np.linalg.solve(around.T @ around + _RIDGE * np.eye(vectors.shape[1]), around.T @ (scores - base))
    return np.asarray(base + (asked - centre) @ weights)


def soft_gate(vectors: Floats, scores: Floats, asked: Floats) -> Floats:
    """Softmax gate on normalised utilities u_n / Σ_m u_m (Luce's choice)."""
    total = scores.sum(axis=1, keepdims=True)
    known = total[:, 0] > 0
    return _gate(vectors[known], (scores / np.maximum(total, 1e-12))[known], asked)


def hard_gate(vectors: Floats, scores: Floats, asked: Floats) -> Floats:
    """Softmax gate on the name of the best expert; ties go to the one that is best on average."""
    order = np.argsort(-scores.mean(axis=0), kind="stable")
    best = order[scores[:, order].argmax(axis=1)]
    known = scores.any(axis=1)
    return _gate(vectors[known], np.eye(scores.shape[1])[best][known], asked)


GATES: dict[str, Gate] = {"independent heads": heads, "soft gate": soft_gate, "hard labels": hard_gate}


def _gate(vectors: Floats, targets: Floats, asked: Floats) -> Floats:
    """Cross-entropy to the targets, shape (t, m), by L-BFGS with a little weight decay."""
    from scipy.optimize import minimize

    design = np.column_stack([vectors, np.ones(len(vectors))])
    shape = (targets.shape[1], design.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        logits = design @ weights.T
        logits -= logits.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        value = -(targets * (logits - log_total)).sum() / len(design) + _DECAY / 2 * (flat @ flat)
        slope = (np.exp(logits - log_total) - targets).T @ design / len(design) + _DECAY * weights
        return float(value), slope.ravel()

    fitted = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(np.column_stack([asked, np.ones(len(asked))]) @ fitted.x.reshape(shape).T)


@dataclass(frozen=True, slots=True, eq=False)
class GateRestriction:
    """One gate over all subsets, in quality on the test prompts.

    Attributes:
        masked: The full pool's gate restricted to each subset, shape (subsets, p).
        retrained: The gate trained on the subset alone, shape (subsets, p).
        single: The subset's best expert of the training prompts, shape (subsets, p).
    """

    masked: Floats
    retrained: Floats
    single: Floats

    @property
    def lost(self) -> Floats:
        """What masking loses against retraining on average, per subset."""
        return np.asarray((self.retrained - self.masked).mean(axis=1))


def restrict(
    gate: Gate, train: tuple[Floats, Floats], test: tuple[Floats, Floats], subsets: Sequence[Ints]
) -> GateRestriction:
    """Compare masking with retraining on every subset.

    Args:
        gate: What is trained.
        train: Vectors and scores to fit on, shapes (t, d) and (t, m).
        test: Vectors and scores to judge on.
        subsets: Columns of each.
    """
    vectors, scores = train
    asked, reached = test
    full = gate(vectors, scores, asked)
    at = np.arange(len(asked))
    masked, retrained, single = [], [], []
    for members in subsets:
        own = gate(vectors, scores[:, members], asked)
        masked.append(reached[at, members[full[:, members].argmax(axis=1)]])
        retrained.append(reached[at, members[own.argmax(axis=1)]])
        single.append(reached[:, members[scores[:, members].mean(axis=0).argmax()]])
    return GateRestriction(np.array(masked), np.array(retrained), np.array(single))


def random_subsets(experts: int, count: int, seed: int) -> list[Ints]:
    """Subsets of sizes 2 to 9, each expert as likely as any other."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(experts, min(SIZES[i % len(SIZES)], experts - 1), replace=False)) for i in range(count)]


def _run(ground: StudyContext) -> str:
    models = load_open_models(ground.data / "mmlu_pro")
    subsets = random_subsets(len(models.table.experts), 5 if ground.quick else SUBSETS, seed=0)
    vectors = models.features.vectors.astype(np.float64)
    scores = models.table.scores
    found = {}
    for index, (name, gate) in enumerate(GATES.items()):
        found[name] = restrict(
            gate,
            (vectors[models.train], scores[models.train]),
            (vectors[models.test], scores[models.test]),
            subsets,
        )
        ground.progress((index + 1) / len(GATES))
    _plot(found, ground.figures / "gate_restriction.svg")
    return _page(models, found, 200 if ground.quick else 2000)


def _plot(found: dict[str, GateRestriction], path: Path) -> None:
    figure, panels = axes(len(found), (9.0, 3.2), sharex=True, sharey=True)
    for ax, (name, one) in zip(panels, found.items(), strict=True):
        retrained, masked = one.retrained.mean(axis=1), one.masked.mean(axis=1)
        ends = [min(retrained.min(), masked.min()), max(retrained.max(), masked.max())]
        ax.plot(ends, ends, color="#888888", lw=0.8)
        ax.scatter(retrained, masked, s=12, c="#0072b2")
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("accuracy, trained on the subset", fontsize=8)
    panels[0].set_ylabel("accuracy, trained once and masked", fontsize=8)
    save(figure, path)


def _page(models: OpenModels, found: dict[str, GateRestriction], resamples: int) -> str:
    counts = np.concatenate(list(resample_counts(models.clusters[models.test], resamples, seed=0)))
    lines = []
    for name, one in found.items():
        low, high = interval(resampled_means((one.retrained - one.masked).mean(axis=0)[None], counts)[0])
        gains = [100 * (kind - one.single).mean() for kind in (one.masked, one.retrained)]
        lines.append(
            f"| {name} | {100 * one.masked.mean():.2f} | {100 * one.retrained.mean():.2f} | "
            f"{100 * one.lost.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f}) | {100 * one.lost.max():+.2f} | "
            f"{gains[0]:+.2f} | {gains[1]:+.2f} |"
        )
    subsets = len(next(iter(found.values())).masked)
    return f"""
MoE² (arXiv 2501.09410) searches for the set of awake experts without retraining its gate, because the gate of the full
pool is to stay right on every subset. That is exact for heads that are independent, and for the ideal gate on
normalised utilities; for a gate of limited capacity it can fail. Here: {len(models.table.experts)} open models on
MMLU-Pro, {subsets} random subsets of {SIZES[0]} to {SIZES[-1]} experts, {len(models.train):,} training and
{len(models.test):,} test prompts, linear gates on the static embedding.

![Trained once and masked, against trained on the subset](figures/gate_restriction.svg)

| gate | masked, % | retrained, % | lost by masking, points | most lost | masked over best single | retrained over it |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

Means over the subsets; intervals: 95 %, bootstrap over prompts ({resamples:,} resamples, near-duplicates together), the
subsets held fixed. The largest loss is over subsets, and has the noise of one of them. *Hard labels* name the best
expert of each prompt: in a pool with a few strong experts the others are hardly ever named, and nothing is learnt of
how they compare. This is why the router has a head for each expert. The project's tests hold the loss of heads and soft
gate to {100 * EPSILON:g} point on average, on a synthetic pool. Regenerate: `make report`.
"""


STUDY = Study("gate_restriction", "One gate for every set of awake experts", ("mmlu_pro",), _run)
