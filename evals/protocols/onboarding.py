"""A new expert joins a pool: how well is it used, after so many labelled prompts of its own?

The rest of the pool has outcomes on the whole train split. The newcomer has a card and n scored prompts. The ways to
let it in are compared with the two ends, the pool without it and the pool that knows everything about it:

- `placed`: put beside the fitted router without fitting anything else again (UniRoute, arXiv 2502.08773), by whatever
  function is given;
- `refitted`: the whole router fitted again, the newcomer's column empty but for its n prompts;
- `added mean`: its mean over the n prompts, the same for every prompt: the least that can be done;
- `card alone`: no labelled prompt at all, only its card in the pool's description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pointsman.evals.errors import EvalError
from pointsman.evals.fitting import fit_on_table
from pointsman.evals.metrics.bootstrap import interval, resample_counts, resampled_means
from pointsman.evals.metrics.calibration import brier
from pointsman.evals.metrics.quality import mean_known
from pointsman.evals.metrics.selection import best_scores, one_hot, picked_values
from pointsman.evals.policies import Trial
from pointsman.evals.replay import expert_specs, predictions, requests
from pointsman.evals.tables import OutcomeTable
from pointsman.experts.spec import PoolView
from pointsman.routers.artifacts import RouterParts

Floats = npt.NDArray[np.float64]


class OnboardingMethod(Protocol):
    """Puts an expert beside those that a fitted router knows, without fitting anything of theirs again."""

    def __call__(
        self, parts: RouterParts, name: str, texts: Sequence[str], scores: Floats, *, card: str | None = None
    ) -> RouterParts:
        """The parts with the expert.

        Args:
            parts: A fitted router.
            name: Of the newcomer.
            texts: Its labelled prompts, n of them.
            scores: Its scores on them, shape (n,).
            card: A sentence on what it is good at.
        """


LABELLED = (0, 10, 50, 200)


@dataclass(frozen=True, slots=True)
class OnboardingRow:
    """One way of letting a newcomer in.

    Attributes:
        newcomer: Its name.
        way: `without`, `known in full`, or one of the ways above.
        labelled: How many scored prompts of the newcomer were seen.
        quality: Mean score of the picks over the test split, newcomer included in the pool.
        minus_without: Paired difference to the pool without the newcomer.
        minus_without_ci95: Its interval.
        asked: Share of prompts that go to the newcomer.
        best: Share of prompts on which it is among the best.
        brier: Mean squared error of its predicted quality; NaN where nothing is predicted.
    """

    newcomer: str
    way: str
    labelled: int
    quality: float
    minus_without: float
    minus_without_ci95: tuple[float, float]
    asked: float
    best: float
    brier: float


def onboard(
    trial: Trial,
    newcomer: str,
    place: OnboardingMethod | None = None,
    labelled: Sequence[int] = LABELLED,
    card: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> list[OnboardingRow]:
    """Let one expert of a table join the others.

    Args:
        trial: With a train split.
        newcomer: Which of its experts.
        place: Puts it beside a fitted router; None leaves `placed` out.
        labelled: Numbers of labelled prompts, drawn at random from the train split, each a superset of the smaller.
        card: A sentence on what the newcomer is good at.
        resamples: Of the bootstrap.
        seed: Of the draw, of fitting and of the bootstrap.
        progress: Told the share that is done.

    Raises:
        EvalError: There is no train split, no such expert, or fewer than two others.
        RouterError: A router cannot be fitted.
    """
    if not len(trial.train) or newcomer not in trial.test.experts or len(trial.test.experts) < 3:
        raise EvalError("onboarding needs a train split, and a newcomer that joins at least two other experts")
    others = [name for name in trial.test.experts if name != newcomer]
    column = trial.test.experts.index(newcomer)
    draw = np.random.default_rng(seed).permutation(np.flatnonzero(trial.train.scored[:, column]))
    specs = [
        replace(spec, card=card or "") if spec.name == newcomer else spec for spec, _ in expert_specs(trial).entries
    ]
    everybody, rest = PoolView.of(*specs), PoolView.of(*(spec for spec in specs if spec.name != newcomer))
    steps = 2 + 2 * len(labelled)
    base = fit_on_table(trial.train.pool(others), "base", seed=seed)
    ways = [_routed(trial, base, rest, "without", 0)]
    progress(1 / steps)
    ways.append(_routed(trial, fit_on_table(trial.train, "full", seed=seed), everybody, "known in full", len(draw)))
    for done, count in enumerate(labelled, start=1):
        progress(2 * done / steps)
        rows = draw[:count]
        texts, scores = [trial.train.prompts[i] for i in rows], trial.train.scores[rows, column]
        if not count:
            if card is not None:
                ways.append(_routed(trial, base, everybody, "card alone", 0))
            continue
        ways.append(_with_mean(ways[0], column, float(scores.mean()), count))
        refitted = fit_on_table(_knowing(trial.train, column, rows), "refitted", seed=seed)
        ways.append(_routed(trial, refitted, everybody, "refitted", count))
        if place is not None:
            placed = place(base, newcomer, texts, scores, card=card)
            ways.append(_routed(trial, placed, everybody, "placed", count))
    progress(1.0)
    return _rows(trial, newcomer, ways, resamples, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Choices on the test prompts, shape (n,), and predicted quality of every expert, shape (n, m)."""

    name: str
    labelled: int
    choices: npt.NDArray[np.int64]
    predicted: Floats


def _routed(trial: Trial, parts: RouterParts, view: PoolView, name: str, labelled: int) -> _Way:
    router, names = parts.router(), trial.test.experts
    asked = requests(trial.test)
    assessed = [router.assess(request) for request in asked]
    decided = [router.select(*pair, view) for pair in zip(assessed, asked, strict=True)]
    choices = [-1 if one.expert is None else names.index(one.expert) for one in decided]
    predicted = predictions(assessed, names)
    return _Way(
        name,
        labelled,
        np.array(choices, dtype=np.int64),
        np.full(trial.test.scores.shape, np.nan) if predicted is None else predicted,
    )


def _with_mean(without: _Way, column: int, mean: float, labelled: int) -> _Way:
    """The newcomer is asked where its mean is above what is expected of the others' best."""
    predicted = without.predicted.copy()
    predicted[:, column] = mean
    better = mean > np.nanmax(without.predicted, axis=1, initial=-np.inf)
    return _Way("added mean", labelled, np.where(better, column, without.choices), predicted)


def _knowing(train: OutcomeTable, column: int, rows: npt.NDArray[np.int64]) -> OutcomeTable:
    """The train split with all of one expert's outcomes forgotten but for some rows."""
    forgotten = np.ones(len(train), dtype=np.bool_)
    forgotten[rows] = False
    scores, tokens = train.scores.copy(), train.completion_tokens.copy()
    scores[forgotten, column] = np.nan
    tokens[forgotten, column] = np.nan
    return replace(train, scores=scores, completion_tokens=tokens)


def _rows(trial: Trial, newcomer: str, ways: Sequence[_Way], resamples: int, seed: int) -> list[OnboardingRow]:
    scores, column = trial.test.scores, trial.test.experts.index(newcomer)
    quality = np.stack([picked_values(scores, one_hot(way.choices, scores.shape[1])) for way in ways])
    gains = quality - quality[0]
    drawn = [resampled_means(gains, counts) for counts in resample_counts(trial.clusters, resamples, seed)]
    samples = np.concatenate(drawn, axis=1) if drawn else np.full((len(ways), 0), np.nan)
    is_best = np.where(np.isfinite(scores[:, column]), scores[:, column] >= best_scores(scores), np.nan)
    return [
        OnboardingRow(
            newcomer=newcomer,
            way=way.name,
            labelled=way.labelled,
            quality=mean_known(quality[i]),
            minus_without=mean_known(gains[i]),
            minus_without_ci95=interval(samples[i]),
            asked=float((way.choices == column).mean()),
            best=mean_known(is_best.astype(np.float64)),
            brier=brier(way.predicted[:, column], scores[:, column]),
        )
        for i, way in enumerate(ways)
    ]
