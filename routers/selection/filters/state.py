"""Filters on the current state of an expert. All of these reasons pass: the same request may be answered later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pointsman.routers.arrays import Mask
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.kind import FilterKind, RuleRow
from pointsman.routers.types import Rejection, RouteRequest, Rule


@dataclass(frozen=True, slots=True)
class AwakeFilter:
    """The expert must not be asleep."""

    def passes(self, figures: CallFigures) -> Mask:
        """It is awake."""
        return figures.live.awake

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `asleep`."""
        return Rejection(figures.roster.names[index], Rule.ASLEEP, "it has been put to sleep", transient=True)


@dataclass(frozen=True, slots=True)
class HealthFilter:
    """The expert must be healthy."""

    def passes(self, figures: CallFigures) -> Mask:
        """It is healthy."""
        return figures.live.healthy

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `unhealthy`."""
        # Why is the operator's to know: what a server or a library says of a failure may hold addresses.
        detail = "its recent calls or its probe failed"
        return Rejection(figures.roster.names[index], Rule.UNHEALTHY, detail, transient=True)


@dataclass(frozen=True, slots=True)
class SaturationFilter:
    """The expert must have room for one more call."""

    def passes(self, figures: CallFigures) -> Mask:
        """It has room."""
        return figures.live.in_flight < figures.roster.most

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """Rule `saturated`."""
        in_flight, most = figures.live.states[index].in_flight, figures.roster.max_concurrency[index]
        detail = f"{in_flight} calls are in flight and it takes {most}"
        return Rejection(figures.roster.names[index], Rule.SATURATED, detail, transient=True)


_READY: Final[tuple[Filter, ...]] = (AwakeFilter(), HealthFilter(), SaturationFilter())


def _ready(_: RouteRequest, figures: CallFigures) -> Sequence[Filter] | None:
    return None if figures.live.all_ready else _READY


READY: Final = FilterKind(
    (
        RuleRow(Rule.ASLEEP, "It has been put to sleep.", passing=True),
        RuleRow(Rule.UNHEALTHY, "Its recent calls or its probe failed.", passing=True),
        RuleRow(Rule.SATURATED, "It has as many calls in flight as it takes.", passing=True),
    ),
    _ready,
)
