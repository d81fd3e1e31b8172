"""The retry budget: how many extra calls a share of the traffic may cause, so that retries cannot amplify a failure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_WINDOW_S: Final = 10.0


class RetryBudget:
    """Extra calls allowed for each request, as a bucket that leaks (the idea of Finagle's retry budget).

    Every request deposits a share of a call, and a floor of calls a second is deposited in any case; an extra call
    takes one. A deposit leaks away with a time constant of ten seconds.

    Args:
        share: Extra calls allowed for each request.
        least_per_s: Allowed each second however few the requests.
        clock: Monotonic seconds.
    """

    __slots__ = ("_balance", "_clock", "_floor", "_requests", "_share", "_since_s")

    def __init__(self, *, share: float, least_per_s: float, clock: Callable[[], float]) -> None:
        self._share = share
        self._clock = clock
        self._floor = least_per_s * _WINDOW_S
        self._balance = self._floor
        self._requests = 0
        self._since_s = clock()

    def request(self) -> None:
        """A request comes in."""
        self._requests += 1

    @property
    def spent(self) -> bool:
        """Whether no extra call is allowed now."""
        if self._balance >= 1.0 and self._floor >= 1.0:
            # It leaks towards the floor, so there is one in any case.
            return False
        self._settle()
        return self._balance < 1.0

    def take(self) -> None:
        """An extra call is made."""
        self._settle()
        self._balance -= 1.0

    def _settle(self) -> None:
        now_s = self._clock()
        passed = max(now_s - self._since_s, 1e-9) / _WINDOW_S
        left = math.exp(-passed)
        # The requests since the last look are taken to have come evenly.
        deposits = self._share * self._requests * (1 - left) / passed
        self._balance = self._floor + (self._balance - self._floor) * left + deposits
        self._requests, self._since_s = 0, now_s
