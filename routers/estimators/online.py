"""What judged answers teach about experts after an artefact was fitted: corrections of its predictions.

A judgement y in [0, 1] of expert n on prompt x, for which q̂_n(x) had been predicted, adds to the expert's cells

    N_nc += p(c|x),   R_nc += p(c|x) (y - q̂_n(x))

and moves later predictions by the posterior mean of a normal error with mean 0 before any judgement:

    δ_n(x) = Σ_c p(c|x) R_nc / (N_nc + k_n),   k_n = 0.25 / std_n²  within [5, 200]

k_n is how many judgements the prediction's own evidence is worth (0.25 is the most that a judgement can vary). An
artefact counts as at most 200, so that a world unlike its table can overrule it; a guess counts as 5. Judgements that
agree with the prediction on average move nothing, however many there are.

Both cells are sums, so counters of many replicas are merged by adding them, in any order. They halve every half-life:
experts change behind their names. There are at most experts x categories of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from pointsman.routers.arrays import Column
from pointsman.routers.types import Classification, Quality

#: Greatest variance of a figure in [0, 1]: that of an even coin.
JUDGEMENT_VARIANCE = 0.25

#: Bounds of the judgements that a prediction's own evidence is worth.
LEAST_PRIOR, MOST_PRIOR = 5.0, 200.0

#: Posterior below which a judgement says nothing about a category.
LEAST_SHARE = 0.05

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums of judgements per expert and category, as they weigh at one moment.

    Attributes:
        cells: (expert, category) -> (N, R).
        as_of_s: When they weigh so, in seconds of a wall clock that all replicas share.
    """

    cells: Mapping[Cell, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    as_of_s: float = 0.0

    def at(self, now_s: float, half_life_s: float) -> Tally:
        """The same, faded to a later moment; a moment before `as_of_s` changes nothing."""
        if now_s <= self.as_of_s:
            return self
        left = 0.5 ** ((now_s - self.as_of_s) / half_life_s)
        return Tally({cell: (n * left, r * left) for cell, (n, r) in self.cells.items()}, now_s)

    def judged(self, expert: str, posterior: Mapping[str, float], residual: float, weight: float = 1.0) -> Tally:
        """With one more judgement, now.

        Args:
            expert: Who answered.
            posterior: Of the prompt's categories.
            residual: The judgement minus the quality that the artefact, card or size had predicted.
            weight: How much it counts.
        """
        cells = dict(self.cells)
        for category, share in posterior.items():
            if share >= LEAST_SHARE:
                n, r = cells.get((expert, category), (0.0, 0.0))
                cells[expert, category] = (n + weight * share, r + weight * share * residual)
        return replace(self, cells=cells)


def merged(tallies: Iterable[Tally], half_life_s: float) -> Tally:
    """The sum of tallies, as it weighs at the latest of their moments. Order does not matter."""
    given = list(tallies)
    now_s = max((one.as_of_s for one in given), default=0.0)
    cells: dict[Cell, tuple[float, float]] = {}
    for one in given:
        for cell, (n, r) in one.at(now_s, half_life_s).cells.items():
            before = cells.get(cell, (0.0, 0.0))
            cells[cell] = (before[0] + n, before[1] + r)
    return Tally(cells, now_s)


class Corrections:
    """A tally as arrays, for decisions: an immutable snapshot, like the view of the pool.

    Args:
        tally: Of all replicas.
    """

    def __init__(self, tally: Tally) -> None:
        self.experts = tuple(sorted({expert for expert, _ in tally.cells}))
        self._categories = tuple(sorted({category for _, category in tally.cells}))
        shape = (len(self.experts), len(self._categories))
        self._count, self._residual = np.zeros(shape), np.zeros(shape)
        at = {name: index for index, name in enumerate(self.experts)}
        column = {name: index for index, name in enumerate(self._categories)}
        for (expert, category), (n, r) in tally.cells.items():
            self._count[at[expert], column[category]] = n
            self._residual[at[expert], column[category]] = r
        self._at = at

    def count(self, expert: str) -> float:
        """How many judgements of an expert are left, all categories together."""
        return float(self._count[self._at[expert]].sum()) if expert in self._at else 0.0

    def corrected(self, names: tuple[str, ...], quality: Column, std: Column, classification: Classification) -> Column:
        """Quality of a pool with what was learned, within [0, 1].

        Args:
            names: Of the pool's experts, n of them.
            quality: As predicted, shape (n,).
            std: Its uncertainty, NaN where unknown, shape (n,).
            classification: Of the prompt.
        """
        here = [index for index, name in enumerate(names) if name in self._at]
        if not here:
            return quality
        rows = [self._at[names[index]] for index in here]
        posterior = self._posterior(classification)
        shift = self._residual[rows] / (self._count[rows] + _prior(std[here])[:, None]) @ posterior
        out = quality.copy()
        out[here] = np.clip(out[here] + shift, 0.0, 1.0)
        return out

    def corrected_one(self, name: str, quality: Quality, classification: Classification) -> Quality:
        """As `corrected`, for one expert, with what is left of its uncertainty."""
        if name not in self._at:
            return quality
        mean = self.corrected((name,), np.array([quality.mean]), np.array([quality.std]), classification)[0]
        count = float(self._count[self._at[name]] @ self._posterior(classification))
        prior = float(_prior(np.array([quality.std]))[0])
        std = math.sqrt(JUDGEMENT_VARIANCE / (count + prior))
        if not math.isnan(quality.std):
            std = min(std, quality.std)
        return replace(quality, mean=float(mean), std=std, learned=float(mean) - quality.mean)

    def _posterior(self, classification: Classification) -> Column:
        return np.array([classification.posterior.get(name, 0.0) for name in self._categories])


def _prior(std: Column) -> Column:
    """k: the judgements that predictions of this uncertainty are worth."""
    with np.errstate(divide="ignore"):
        worth = JUDGEMENT_VARIANCE / np.square(std)
    return np.clip(np.where(np.isnan(std), LEAST_PRIOR, worth), LEAST_PRIOR, MOST_PRIOR)
