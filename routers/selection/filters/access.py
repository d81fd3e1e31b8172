"""The experts that a caller may use at all: by name, and by where an expert runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pointsman.routers.arrays import Mask
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.kind import FilterKind, RuleRow
from pointsman.routers.types import Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class AllowedFilter:
    """The caller may use only some experts."""

    names: frozenset[str]

    def passes(self, figures: CallFigures) -> Mask:
        """Its name is among the allowed ones."""
        return np.array([name in self.names for name in figures.roster.names], dtype=np.bool_)

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `not_allowed`."""
        return Rejection(figures.roster.names[index], Rule.NOT_ALLOWED, "this caller may not use it")


@dataclass(frozen=True, slots=True)
class LocalFilter:
    """The prompt must stay on the operator's own hardware."""

    def passes(self, figures: CallFigures) -> Mask:
        """The expert is local."""
        return figures.roster.local

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `not_local`."""
        return Rejection(
            figures.roster.names[index],
            Rule.NOT_LOCAL,
            "it runs elsewhere, and the prompt must stay on the operator's hardware",
        )


def _allowed(request: RouteRequest, _: CallFigures) -> Sequence[Filter] | None:
    return None if request.allowed is None else (AllowedFilter(request.allowed),)


def _local(request: RouteRequest, _: CallFigures) -> Sequence[Filter] | None:
    return (LocalFilter(),) if request.budget.local_only else None


ALLOWED: Final = FilterKind(
    (RuleRow(Rule.NOT_ALLOWED, "The caller's key, or `routing.experts`, leaves it out.", "routing.experts"),), _allowed
)
LOCAL: Final = FilterKind(
    (RuleRow(Rule.NOT_LOCAL, "The prompt must stay on the operator's hardware.", "routing.local_only"),), _local
)
