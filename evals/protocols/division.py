"""How the prompts of a trial are divided into what is learned from and what is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pointsman.evals.crossfit import Fold, fold_trials, held_out
from pointsman.evals.errors import EvalError
from pointsman.evals.policies import Trial


class Protocol(StrEnum):
    """What a router may know of the prompts it is evaluated on."""

    SPLIT = "split"
    LODO = "lodo"
    LOCO = "loco"
    RESPLIT = "resplit"
    ONBOARDING = "onboarding"


@dataclass(frozen=True, slots=True, eq=False)
class TrialSplit:
    """A trial, divided.

    Attributes:
        folds: Trials of their own, which together evaluate every prompt once; none for a trial taken as it stands.
        note: What a reader must know of it; empty for a split as it stands.
    """

    folds: tuple[Fold, ...]
    note: str


def divide(trial: Trial, protocol: Protocol, train_split: str, folds: int, seed: int) -> TrialSplit:
    """Divide a trial.

    - `split`: as the table says; without a train split in folds at random, near-duplicates together.
    - `lodo`: leave one data set out. What is learned for a data set's prompts is learned on the others.
    - `resplit`: the train and test prompts divided again beforehand (`resplit.py`), then as `split`.
    - `loco`: leave one category out, the same with the labels of the prompts (domains, in most tables).

    Raises:
        EvalError: There is nothing to leave out, or there are too few prompts.
    """
    if protocol in (Protocol.LODO, Protocol.LOCO):
        return _leave_one_out(trial, protocol)
    if protocol is Protocol.RESPLIT:
        note = (
            f"train and test prompts were divided again with seed {seed}: 70 to 30 per cent, near-duplicates together"
        )
        return TrialSplit((), note)
    if len(trial.train):
        return TrialSplit((), "")
    note = (
        f"split {train_split!r} is empty: all that is chosen or fitted is cross-fitted in {folds} folds of the "
        "evaluated prompts"
    )
    return TrialSplit(tuple(fold_trials(trial, folds, seed)), note)


def _leave_one_out(trial: Trial, protocol: Protocol) -> TrialSplit:
    what, ours, theirs = (
        ("data set", trial.test.datasets, trial.train.datasets)
        if protocol is Protocol.LODO
        else ("category", trial.test.categories, trial.train.categories)
    )
    names = sorted(set(ours))
    if len(names) < 2:
        raise EvalError(f"--protocol {protocol}: every evaluated prompt is of the {what} {names[0]!r}: none is left")
    group = _numbered(ours, names)
    train_group = _numbered(theirs, names) if len(trial.train) else None
    note = f"leave one {what} out: what is learned for its prompts is learned on the others ({len(names)} rounds)"
    return TrialSplit(tuple(held_out(trial, group, train_group)), note)


def _numbered(labels: Sequence[str], names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Position of each label among the names; -1 for one that is not there."""
    at = {name: i for i, name in enumerate(names)}
    return np.array([at.get(label, -1) for label in labels], dtype=np.int64)
