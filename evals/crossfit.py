"""Cross-fitting: choose and fit on the other folds, evaluate on the held-out one.

Every prompt is evaluated exactly once, by policies that never saw it nor a near-duplicate of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError
from pointsman.evals.policies import CostWeightSweep, Policy, Trial

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One fold.

    Attributes:
        trial: Its prompts as the test split, all the others as the train split.
        rows: Rows of the whole trial that it evaluates.
        priced: Which of the whole trial's priced prompts are among them, as positions.
    """

    trial: Trial
    rows: Ints
    priced: Ints


def fold_trials(trial: Trial, folds: int, seed: int) -> list[Fold]:
    """Divide the evaluated prompts of a trial into folds; near-duplicates stay together.

    Args:
        trial: Its train split is not used.
        folds: How many.
        seed: Of the division.

    Raises:
        EvalError: There are fewer clusters of prompts than folds.
    """
    groups, member = np.unique(trial.clusters, return_inverse=True)
    if len(groups) < folds:
        raise EvalError(f"{len(groups)} different prompts are too few for {folds} folds")
    of_group = np.random.default_rng(seed).permutation(len(groups)) % folds
    return held_out(trial, of_group[member])


def held_out(trial: Trial, group: Ints, train_group: Ints | None = None) -> list[Fold]:
    """One fold per group: evaluated are its prompts, learned from is everything else.

    Args:
        trial: Its evaluated prompts are divided.
        group: Group of each of them, shape (n,).
        train_group: Group of each prompt of the train split; then the others' train prompts are learned from, not their
            evaluated ones.
    """
    found = []
    for index in np.unique(group):
        here = group == index
        rows = np.flatnonzero(here)
        priced = np.flatnonzero(here[trial.priced_rows])
        test = trial.test.rows(rows)
        priced_rows = np.searchsorted(rows, trial.priced_rows[priced])
        found.append(
            Fold(
                Trial(
                    train=trial.test.rows(~here) if train_group is None else trial.train.rows(train_group != index),
                    test=test,
                    priced=test.rows(priced_rows),
                    priced_rows=priced_rows,
                    priced_experts=trial.priced_experts,
                    clusters=trial.clusters[rows],
                ),
                rows,
                priced,
            )
        )
    return found


def merge_folds(trial: Trial, folds: Sequence[Fold], policies: Sequence[Sequence[Policy]]) -> list[Policy]:
    """Put the policies of every fold together; `policies` has one list per fold, in the same order in each."""
    return [_merge(trial, folds, parts) for parts in zip(*policies, strict=True)]


def _standing(score: Floats) -> Floats:
    """Share of the fold's prompts with a lower score, ties counted half; in [0, 1], shape (n,).

    Every fold has a router of its own, and a threshold means something within one only. Pooled as they are, scores
    would also carry the mean outcome of the folds seen, which is the higher the worse the fold held out turned out.
    """
    from scipy.stats import rankdata

    return np.asarray((rankdata(score) - 0.5) / len(score))


def _merge(trial: Trial, folds: Sequence[Fold], parts: Sequence[Policy]) -> Policy:
    first = parts[0]
    mix = np.zeros(trial.test.scores.shape)
    times = np.full(len(trial.test), np.nan)
    belief = np.full(len(trial.test), np.nan)
    predicted = np.full(trial.test.scores.shape, np.nan)
    for fold, part in zip(folds, parts, strict=True):
        mix[fold.rows] = part.mix
        if part.latency_ms is not None:
            times[fold.rows] = part.latency_ms
        if part.deferral_score is not None:
            belief[fold.rows] = _standing(part.deferral_score)
        if part.predicted is not None:
            predicted[fold.rows] = part.predicted
    curve = None
    if first.curve is not None:
        choices = np.full((len(first.curve.weights), len(trial.priced)), -1, dtype=np.int64)
        for fold, part in zip(folds, parts, strict=True):
            if part.curve is not None:
                choices[:, fold.priced] = part.curve.choices
        curve = CostWeightSweep(first.curve.weights, choices)
    hashes = {part.artifact_hash for part in parts}
    return replace(
        first,
        mix=mix,
        curve=curve,
        latency_ms=times if np.isfinite(times).all() else None,
        deferral_score=belief if np.isfinite(belief).all() else None,
        predicted=predicted if np.isfinite(predicted).any() else None,
        flips={
            name: float(np.mean([part.flips[name] for part in parts if name in part.flips])) for name in first.flips
        },
        artifact_hash=first.artifact_hash if len(hashes) == 1 else "",
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
