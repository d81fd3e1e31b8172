"""What speaks for one expert apart from the caller's weights: it answered last, or it answers without a model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.selection.scorers.kind import Positions, Scorer
from pointsman.routers.types import RouteRequest


def _stay(request: RouteRequest, figures: CallFigures, admissible: Positions) -> Mapping[str, Column] | None:
    stay = request.stay
    if stay is None or stay.expert not in figures.roster.names:
        return None
    return {"stay": np.where(admissible == figures.roster.names.index(stay.expert), stay.bonus, 0.0)}


def _null(request: RouteRequest, figures: CallFigures, admissible: Positions) -> Mapping[str, Column] | None:
    if not (request.offers.bonus and figures.roster.null_positions):
        return None
    return {"null": np.where(figures.roster.null[admissible], request.offers.bonus, 0.0)}


STAY: Final = Scorer(MappingProxyType({"stay": "It answered the session's previous turn."}), _stay)
NULL: Final = Scorer(
    MappingProxyType({"null": "It answers without a model: that is worth the bonus of the dial less its price."}), _null
)
