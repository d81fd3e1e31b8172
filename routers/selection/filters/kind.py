"""What a filter declares about itself, for the decision and for the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.protocols import Filter
from pointsman.routers.types import RouteRequest

#: Gives the filters that can bite a request in a pool, None where there are none.
Applying = Callable[[RouteRequest, CallFigures], Sequence[Filter] | None]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule that a filter rejects by: a row of the page, a value of a metric's label.

    Attributes:
        name: As in decisions, headers and metrics.
        meaning: When an expert breaks it, one sentence.
        path: The field of a request that states it, which a refusal then names; empty where no caller does.
        passing: Whether waiting may help (503 rather than 4xx).
    """

    name: str
    meaning: str
    path: str = ""
    passing: bool = False


@dataclass(frozen=True, slots=True)
class FilterKind:
    """A filter as it is registered.

    Attributes:
        rules: Every rule that it may reject by.
        applying: The filters that can bite a request in a pool; None where nothing asks for one, so that it costs
            nothing. Called for every request.
    """

    rules: tuple[RuleRow, ...]
    applying: Applying
