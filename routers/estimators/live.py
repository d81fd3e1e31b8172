"""The live state of the experts of a pool at the moment of a snapshot, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from pointsman.experts.spec import ExpertState, Speed
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
        #: The largest of `tokens_worst`: every request is held against the smallest window by it.
        self.most_tokens = max([state.tokens.worst for state in states], default=1.0)
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
    def speed(self) -> SpeedFigures:
        """What calls may expect under the load of the snapshot."""
        return SpeedFigures([state.speed for state in self.states])

    @cached_property
    def idle_speed(self) -> SpeedFigures:
        """What they may expect once the experts are idle."""
        return SpeedFigures([state.idle_speed for state in self.states])

    @cached_property
    def tokens_typical(self) -> Column:
        """Tokens of a prompt over their estimate, as a rule."""
        return _observed(state.tokens.typical for state in self.states)

    @cached_property
    def tokens_worst(self) -> Column:
        """The same in the worst case."""
        return _observed(state.tokens.worst for state in self.states)

    @cached_property
    def recent_calls(self) -> Column:
        """Calls begun so far, the latest weighing most, as a logarithm."""
        return _observed(state.recent_calls for state in self.states)


class SpeedFigures:
    """What was seen of the experts' speed, shape (n,) each; NaN for what was not.

    Args:
        speeds: Of the experts, in their order.
    """

    def __init__(self, speeds: Sequence[Speed]) -> None:
        self._speeds = speeds

    @cached_property
    def ttft_ms(self) -> Column:
        """Time to first token of an empty prompt."""
        return _observed(speed.ttft_ms for speed in self._speeds)

    @cached_property
    def prefill_ms_per_token(self) -> Column:
        """What every token of the prompt adds."""
        return _observed(speed.prefill_ms_per_token for speed in self._speeds)

    @cached_property
    def tpot_ms(self) -> Column:
        """Time per output token."""
        return _observed(speed.tpot_ms for speed in self._speeds)

    @cached_property
    def ttft_p95_factor(self) -> Column:
        """The worst time to first token over the typical one."""
        return _observed(speed.ttft_p95_factor for speed in self._speeds)

    @cached_property
    def tpot_p95_factor(self) -> Column:
        """The same for the time per output token."""
        return _observed(speed.tpot_p95_factor for speed in self._speeds)


def _observed(values: Iterable[float | None]) -> Column:
    # numpy reads None as NaN here.
    return np.array(list(values), dtype=np.float64)
