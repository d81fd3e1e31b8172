"""The caps of a budget. Each looks at the worst case, and an unknown figure is NaN, which is not within any cap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from pointsman.routers.arrays import Column, Mask
from pointsman.routers.budget import CAPS, Cap
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.kind import FilterKind, RuleRow
from pointsman.routers.types import Budget, Rejection, RouteRequest


# Made for every request with a cap, and freezing costs a third of the making: not frozen, and never changed.
@dataclass(slots=True)
class CapFilter:
    """A figure must stay within what was stated.

    Attributes:
        cap: The row of the table.
        column: Reads the figure.
        stated: The value of the cap.
    """

    cap: Cap
    column: Callable[[CallFigures], Column]
    stated: float

    def passes(self, figures: CallFigures) -> Mask:
        """The figure is known and within the cap."""
        column = self.column(figures)
        return column >= self.stated if self.cap.floor else column <= self.stated

    def rejection(self, figures: CallFigures, index: int) -> Rejection:
        """The cap's own rule, or the one for an unknown figure."""
        cap, name, amount = self.cap, figures.roster.names[index], float(self.column(figures)[index])
        if cap.unknown_rule and math.isnan(amount):
            return Rejection(name, cap.unknown_rule, cap.unknown.format(cap=self.stated))
        in_flight = figures.live.states[index].in_flight
        detail = cap.broken.format(
            amount=amount,
            cap=self.stated,
            tokens=figures.completion_tokens.worst[index],
            source=attrgetter(cap.source)(figures.estimates(index)) if cap.source else "",
            queue=f" with {in_flight} calls in flight" if in_flight else "",
        )
        # Without the calls in flight it would pass: then waiting helps.
        passing = cap.follows_load and float(attrgetter(cap.idle_figure)(figures)[index]) <= self.stated
        return Rejection(name, cap.name, detail, passing)


def within_caps(caps: Iterable[Cap] = CAPS) -> FilterKind:
    """The filters of a table of caps."""
    # Lasting reasons come before passing ones, here as in the whole chain.
    ordered = sorted(caps, key=lambda cap: (cap.follows_load, cap.rank))
    columns = tuple((cap, attrgetter(cap.figure)) for cap in ordered)
    names = [cap.name for cap in ordered]
    nothing = (None,) * len(names)

    def one_by_one(budget: Budget) -> tuple[float | None, ...]:
        return tuple(getattr(budget, name) for name in names)

    # Asked for every request: `attrgetter` is the fast way, but gives a tuple only for two names or more.
    stated_of: Callable[[Budget], tuple[float | None, ...]] = attrgetter(*names) if len(names) > 1 else one_by_one

    def applying(request: RouteRequest, _: CallFigures) -> Sequence[Filter] | None:
        values = stated_of(request.budget)
        if values == nothing:
            return None
        stated = zip(columns, values, strict=True)
        return [CapFilter(cap, column, value) for (cap, column), value in stated if value is not None]

    return FilterKind(tuple(_rules(ordered)), applying)


def _rules(caps: Sequence[Cap]) -> Iterable[RuleRow]:
    for cap in caps:
        what = "least" if cap.floor else "cap"
        side = "below" if cap.floor else "over"
        yield RuleRow(cap.name, f"It is {side} the {what} that `{cap.name}` states.", cap.path, cap.follows_load)
    # One figure may stand under several caps; the last of them is the one that a refusal names.
    for rule in dict.fromkeys(cap.unknown_rule for cap in caps if cap.unknown_rule):
        under = [cap for cap in caps if cap.unknown_rule == rule]
        names = " or ".join(f"`{cap.name}`" for cap in under)
        yield RuleRow(rule, f"{names} is stated, and the figure is unknown.", under[-1].path)


WITHIN_CAPS: Final = within_caps()
