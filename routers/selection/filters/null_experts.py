"""Rules of null experts: one answers only if it has an answer, and blocked topics go to nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pointsman.routers.arrays import Mask
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.kind import FilterKind, RuleRow
from pointsman.routers.types import Offers, Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class OfferFilter:
    """A null expert must have an answer; every other expert is one that can be asked anything."""

    offers: Offers

    def passes(self, figures: CallFigures) -> Mask:
        """It is no null expert, or has an answer."""
        has_answer = [name for name, offer in self.offers.of.items() if offer.quality is not None]
        return ~figures.roster.null | np.isin(figures.roster.names, has_answer)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `no_answer`."""
        name = figures.roster.names[index]
        offer = self.offers.of.get(name)
        detail = "it was not asked for an answer" if offer is None else offer.detail
        return Rejection(name, Rule.NO_ANSWER, detail)


@dataclass(frozen=True, slots=True)
class BlockFilter:
    """The operator blocks what is asked: one null expert answers, whatever the caller's budget and needs are."""

    offers: Offers

    def passes(self, figures: CallFigures) -> Mask:
        """It is the one that must answer."""
        return np.array([name == self.offers.blocked_by for name in figures.roster.names], dtype=np.bool_)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `blocked`."""
        by = self.offers.blocked_by or ""
        why = self.offers.of[by].detail if by in self.offers.of else "the operator blocks what is asked"
        return Rejection(figures.roster.names[index], Rule.BLOCKED, f"{why}; {by} answers")


def _blocked(request: RouteRequest, _: CallFigures) -> Sequence[Filter] | None:
    return None if request.offers.blocked_by is None else (BlockFilter(request.offers),)


def _offered(request: RouteRequest, figures: CallFigures) -> Sequence[Filter] | None:
    return (OfferFilter(request.offers),) if figures.roster.null_positions else None


BLOCKED: Final = FilterKind(
    (RuleRow(Rule.BLOCKED, "The operator blocks what is asked: a null expert answers."),), _blocked
)
OFFERED: Final = FilterKind(
    (RuleRow(Rule.NO_ANSWER, "It answers without a model, and has no answer to this."),), _offered
)
