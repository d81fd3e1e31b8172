"""The reasons of a decision, put into words only when somebody asks.

A decision is made on arrays. The readable form (a candidate per expert with its figures and terms, a sentence per
rejection) would cost more than the decision itself. So it is computed from the same arrays on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures, known
from pointsman.routers.protocols import Filter
from pointsman.routers.types import Candidate, Classification, Rejection, Rule, Score


class ArrayExplanation:
    """The explanation of one decision. Holds no text of the prompt.

    Args:
        figures: Of the request, over the pool.
        classification: Stage 1.
        chain: The filters that were asked, in order.
        ranked: Positions in the pool of the admissible experts, best first, k of them.
        order: Where each of them stands in `utility` and `terms`, shape (k,).
        utility: Of the admissible experts, shape (k,).
        terms: Of the same, shape (k,) per term.
        preferred: How many of the ranked go first because the prompt is uncertain; the others lost to a generalist.
    """

    def __init__(
        self,
        figures: CallFigures,
        classification: Classification,
        chain: Sequence[Filter],
        ranked: npt.NDArray[np.intp],
        order: npt.NDArray[np.intp],
        utility: Column,
        terms: Mapping[str, Column],
        preferred: int,
    ) -> None:
        self._figures = figures
        self._classification = classification
        self._chain = chain
        self._ranked = ranked
        self._utility = utility
        self._terms = terms
        self._order = order
        self._preferred = preferred

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every expert of the view, in its order."""
        figures = self._figures
        utility = dict(zip(self._ranked.tolist(), self._utility[self._order].tolist(), strict=True))
        names = tuple(self._terms)
        values = zip(*(column[self._order].tolist() for column in self._terms.values()), strict=True)
        terms = {
            index: dict(zip(names, row, strict=True)) for index, row in zip(self._ranked.tolist(), values, strict=True)
        }
        return tuple(
            figures.candidate(index, utility.get(index), terms.get(index, {}))
            for index in range(len(figures.roster.specs))
        )

    @cached_property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why each of the others lost, in the view's order."""
        found = {index: rule.rejection(self._figures, index) for index, rule in self._filtered.items()}
        ranked = self._ranked.tolist()
        for place, index in enumerate(ranked[1:], 1):
            lost = place >= self._preferred
            found[index] = self._unfamiliar(index) if lost else self._outscored(index, ranked[0])
        return tuple(found[index] for index in sorted(found))

    @cached_property
    def barred(self) -> Mapping[str, str]:
        """Experts that a filter dropped, and by which rule; cheap where none did."""
        return {
            self._figures.roster.names[index]: rule.rejection(self._figures, index).rule
            for index, rule in self._filtered.items()
        }

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every expert of the view in short, without a sentence."""
        figures = self._figures
        names, ranked = figures.roster.names, self._ranked.tolist()
        utility: list[float | None] = [None] * len(names)
        rules: list[str | None] = [None] * len(names)
        for index, value in zip(ranked, self._utility[self._order].tolist(), strict=True):
            utility[index], rules[index] = value, Rule.OUTSCORED
        for index in ranked[self._preferred :]:
            rules[index] = Rule.NOT_GENERALIST
        if ranked:
            rules[ranked[0]] = None
        if len(ranked) < len(names):
            barred = self.barred
            rules = [barred.get(name, rule) for name, rule in zip(names, rules, strict=True)]
        return tuple(map(Score, names, figures.quality.tolist(), figures.learned.tolist(), utility, rules))

    def spends(self, expert: str) -> tuple[float | None, float | None]:
        """Expected cost in US dollars and energy in joules of an expert of the view; None where unknown."""
        figures = self._figures
        index = figures.roster.names.index(expert)
        return known(figures.cost_usd.expected, index), known(figures.energy_j.expected, index)

    @cached_property
    def _filtered(self) -> Mapping[int, Filter]:
        """Position of an expert -> the first filter it does not pass."""
        if len(self._ranked) == len(self._figures.roster.names):
            return {}
        left = set(range(len(self._figures.roster.specs))).difference(self._ranked.tolist())
        found: dict[int, Filter] = {}
        for rule in self._chain:
            if not left:
                break
            passes = rule.passes(self._figures)
            for index in [index for index in left if not passes[index]]:
                found[index] = rule
                left.remove(index)
        return found

    def _unfamiliar(self, index: int) -> Rejection:
        seen = self._classification
        if seen.out_of_scope:
            why = "the prompt resembles no known category"
        elif seen.category in seen.posterior:
            why = f"no expert has been measured on prompts of the category {seen.category!r}"
        else:
            why = f"the prompt's category is uncertain (entropy {seen.entropy:.2f} nats)"
        name = self._figures.roster.names[index]
        return Rejection(name, Rule.NOT_GENERALIST, f"{why}, and it is no generalist")

    def _outscored(self, index: int, best: int) -> Rejection:
        loser, winner = self.candidates[index], self.candidates[best]
        return Rejection(
            loser.spec.name,
            Rule.OUTSCORED,
            f"utility {loser.utility:.3f} against {winner.utility:.3f} of {winner.spec.name} "
            f"(predicted quality {loser.estimates.quality.mean:.3f} against {winner.estimates.quality.mean:.3f})",
        )
