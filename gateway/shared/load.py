"""The load that other replicas put on experts, so that limits hold for all replicas together.

Every replica publishes its calls in flight four times a second, and reads those of the others. These figures are a
fraction of a second old. So all together may exceed a limit by the calls that they start within that time. Without
Redis, each replica uses its own count only.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from pointsman.experts.pool import ExpertPool
from pointsman.gateway.shared.store import SharedStore

_EVERY_S: Final = 0.25
#: A replica that has said nothing new for so long is gone, and so are its calls.
_GONE_S: Final = 2.0
_KEY: Final = "load"


class SharedLoad:
    """Tells and hears; one per process.

    Args:
        pool: Told what others have in flight.
        store: Where replicas tell each other.
        clock: Monotonic seconds.
        replica: A name no other process has; by default from the host's and the process's.
    """

    def __init__(
        self, pool: ExpertPool, store: SharedStore, clock: Callable[[], float], replica: str | None = None
    ) -> None:
        self._pool = pool
        self._store = store
        self._clock = clock
        # The App after a change of the settings reports under the same name, so its report replaces this one.
        self._replica = replica or f"{socket.gethostname()}:{os.getpid()}"
        self._told = 0
        self._heard: dict[str, tuple[bytes, float]] = {}

    async def run(self) -> None:
        """Until cancelled. No request waits for it."""
        while True:
            await self.exchange()
            await asyncio.sleep(_EVERY_S)

    async def exchange(self) -> None:
        """Tell and hear once."""
        self._told += 1
        # The number makes every report another one, so that silence shows.
        value = orjson.dumps([self._told, self._pool.in_flight()])
        gone = frozenset(name for name, (_, since_s) in self._heard.items() if self._clock() - since_s > _GONE_S)
        found = await self._store.post(_KEY, self._replica, value, int(10 * _GONE_S), forget=gone)
        self._pool.busy_elsewhere({} if found is None else self._sum(found))

    def _sum(self, found: Mapping[bytes, bytes]) -> dict[str, int]:
        now_s = self._clock()
        heard: dict[str, tuple[bytes, float]] = {}
        total: dict[str, int] = {}
        for raw, value in found.items():
            name = raw.decode("utf-8", "replace")
            if name == self._replica:
                continue
            before = self._heard.get(name)
            since_s = before[1] if before is not None and before[0] == value else now_s
            heard[name] = value, since_s
            if now_s - since_s <= _GONE_S:
                for expert, calls in _report(value).items():
                    total[expert] = total.get(expert, 0) + calls
        self._heard = heard
        return total


def _report(value: bytes) -> dict[str, int]:
    """Calls by expert; nothing where the value is none of ours."""
    try:
        _, calls = orjson.loads(value)
        return {str(name): int(number) for name, number in calls.items() if int(number) > 0}
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return {}
