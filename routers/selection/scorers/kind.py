"""What a scorer says of itself so that it can be asked, told and documented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pointsman.routers.arrays import Column
from pointsman.routers.estimators.call import CallFigures
from pointsman.routers.types import RouteRequest

#: Positions of the admissible experts in the pool.
Positions = npt.NDArray[np.intp]

#: Gives the terms of the admissible experts, None where there are none.
Score = Callable[[RouteRequest, CallFigures, Positions], Mapping[str, Column] | None]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer as it is registered.

    Attributes:
        terms: Every term that it may give -> what it is, one sentence.
        score: Terms of the admissible experts, each of shape (k,), in units of quality: a price is negative. None
            where nothing asks for one, so that it costs nothing. Called for every request.
    """

    terms: Mapping[str, str]
    score: Score
