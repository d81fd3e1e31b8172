"""The live state of the experts of a pool at the moment of a snapshot, as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from pointsman.experts.spec import ExpertState
from pointsman.routers.arrays import Column, Mask
from pointsman.routers.estimators.roster import Roster


class LiveFigures:
    """The live figures of a pool's experts, shape (n,); NaN for what was not observed. Read when first asked for.

    Args:
        roster: The experts.
        states: Their states, in the same order.
    """

    def __init__(self, roster: Roster, states: tuple[ExpertState, ...]) -> None:
        self.states = states
        self._roster = roster
        #: Whether every expert is awake, healthy and has room: the common case, and then no filter asks for more.
        self.all_ready = True
        for state, most in zip(states, roster.max_concurrency, strict=True):
            if not (state.healthy and state.awake and state.in_flight < most):
                self.all_ready = False
                break

    @cached_property
    def awake(self) -> Mask:
        """Not put to sleep."""
        return np.array([state.awake for state in self.states], dtype=np.bool_)

    @cached_property
    def healthy(self) -> Mask:
        """Circuit closed and probe passed."""
        return np.array([state.healthy for state in self.states], dtype=np.bool_)

    @cached_property
    def in_flight(self) -> Column:
        """Calls dispatched and not yet finished."""
        return _observed(state.in_flight for state in self.states)

    @cached_property
    def load(self) -> Column:
        """What the calls in flight make of a latency: 1 when idle, 2 when full, more where it takes more."""
        return 1.0 + self.in_flight / self._roster.batch

    @cached_property
    def ttft_ms(self) -> Column:
        """Recently observed time to first token."""
        return _observed(state.ttft_ms for state in self.states)

    @cached_property
    def tpot_ms(self) -> Column:
        """Recently observed time per output token."""
        return _observed(state.tpot_ms for state in self.states)


def _observed(values: Iterable[float | None]) -> Column:
    # numpy reads None as NaN here.
    return np.array(list(values), dtype=np.float64)
