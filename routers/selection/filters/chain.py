"""All filters, in their order. A new one is a file in this folder and a line in `FILTERS`.

Lasting reasons come before passing ones. An expert that is both too expensive and unhealthy is rejected as too
expensive, because waiting would not help (`Rejection.transient` separates a 503 from a 4xx).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.selection.filters.access import ALLOWED, LOCAL
from pointsman.routers.selection.filters.caps import WITHIN_CAPS
from pointsman.routers.selection.filters.kind import Applying, FilterKind, RuleRow
from pointsman.routers.selection.filters.needs import CAPABLE, FITS_CONTEXT
from pointsman.routers.selection.filters.null_experts import BLOCKED, OFFERED
from pointsman.routers.selection.filters.state import READY
from pointsman.routers.types import RouteRequest

FILTERS: Final[tuple[FilterKind, ...]] = (
    ALLOWED,
    CAPABLE,
    OFFERED,
    FITS_CONTEXT,
    LOCAL,
    WITHIN_CAPS,
    READY,
)


def applying_of(kinds: Sequence[FilterKind] = FILTERS) -> tuple[Applying, ...]:
    """What `filters_for` asks, in order."""
    return tuple(kind.applying for kind in kinds)


_APPLYING: Final = applying_of()


def filters_for(request: RouteRequest, figures: CallFigures, asked: Sequence[Applying] = _APPLYING) -> Sequence[Filter]:
    """The filters that can bite this request in this pool, lasting reasons first."""
    if request.offers.blocked_by is not None:
        # It goes before all others, and whatever the caller's budget and needs are.
        return BLOCKED.applying(request, figures) or ()
    chain: list[Filter] = []
    for applying in asked:
        found = applying(request, figures)
        if found is not None:
            chain += found
    return chain


def rules_of(kinds: Sequence[FilterKind] = FILTERS) -> Iterator[RuleRow]:
    """Every rule that a filter may reject by, in the order of the chain."""
    for kind in (BLOCKED, *kinds):
        yield from kind.rules
