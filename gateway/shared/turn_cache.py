"""Turns of conversations that the gateway keeps, by tenant: in Redis for every replica, else in this process.

Keys hold the tenant, so what is another's is not found. Without Redis, and while it does not answer, each process knows
what it kept itself. What all tenants keep here is bounded in bytes; whoever keeps most gives way.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.shared.two_level_cache import key_of
from pointsman.gateway.wire.turns import is_turn

#: When a shared turn dies, in front of it.
_EXPIRY: Final = struct.Struct(">d")
#: A request that needs a turn waits so long for Redis.
_READ_S: Final = 0.5
#: Another process's turn may still be on its way to Redis; who asks for one that is not there waits so long for it.
_ON_ITS_WAY_S: Final = 0.2
#: A turn that is used after so much of its time lives anew.
_RENEWED: Final = 0.5
#: Beside its own bytes, a turn here counts for so many.
_ENTRY_BYTES: Final = 512


class TurnCache:
    """Keeps turns.

    Args:
        most_bytes: Of one turn; 0 keeps none.
        local_bytes: Of all turns in this process.
        ttl_s: Seconds a turn lives since it was last used.
        store: The shared level, None without one.
        clock: Seconds that mean the same to every replica.
    """

    def __init__(
        self,
        *,
        most_bytes: int,
        local_bytes: int,
        ttl_s: int,
        store: SharedStore | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._most_bytes = most_bytes
        self._local_bytes = local_bytes
        self._ttl_s = ttl_s
        self._store = store
        self._clock = clock
        self._held: dict[str, OrderedDict[str, tuple[float, bytes]]] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0

    @property
    def keeps(self) -> bool:
        """Whether any turn is kept."""
        return self._most_bytes > 0

    @property
    def reachable(self) -> bool:
        """Whether all that was kept can be looked for."""
        return self._store is None or self._store.available

    def fits(self, size_bytes: int) -> bool:
        """Whether a turn of that size is kept."""
        return 0 < size_bytes <= self._most_bytes

    def put(self, tenant: str, turn_id: str, turn: bytes) -> None:
        """Keep a turn, in Redis behind the request's back; nothing where it is too large."""
        if not self.fits(len(turn)):
            return
        expires_s = self._clock() + self._ttl_s
        self._keep(tenant, turn_id, expires_s, turn)
        if self._store is not None and self._store.available:
            self._store.put(_key(tenant, turn_id), _EXPIRY.pack(expires_s) + turn, self._ttl_s)

    async def get(self, tenant: str, turn_id: str) -> bytes | None:
        """A turn; None where there is none, or where Redis alone has it and does not answer."""
        mine = self._mine(tenant, turn_id)
        expires_s, turn = (0.0, None) if mine is None else mine
        if self._store is not None and self._store.available:
            shared = await self._shared(self._store, tenant, turn_id, patient=mine is None)
            if shared is not None:
                # What was deleted by another process is empty.
                expires_s, turn = shared
        if not turn or not is_turn(turn):
            return None
        if expires_s - self._clock() < self._ttl_s * _RENEWED:
            self.put(tenant, turn_id, turn)
        return turn

    def delete(self, tenant: str, turn_id: str) -> None:
        """Forget a turn, everywhere."""
        self._drop(tenant, turn_id)
        if self._store is not None:
            # Others keep it as well, and look here first.
            self._store.put(_key(tenant, turn_id), _EXPIRY.pack(self._clock() + self._ttl_s), self._ttl_s)

    async def _shared(
        self, store: SharedStore, tenant: str, turn_id: str, *, patient: bool
    ) -> tuple[float, bytes] | None:
        key = _key(tenant, turn_id)
        raw = await store.get(key, _READ_S)
        if raw is None and patient and store.available:
            await asyncio.sleep(_ON_ITS_WAY_S)
            raw = await store.get(key, _READ_S)
        if raw is None or len(raw) < _EXPIRY.size:
            return None
        (expires_s,) = _EXPIRY.unpack_from(raw)
        return expires_s, raw[_EXPIRY.size :] if expires_s > self._clock() else b""

    def _mine(self, tenant: str, turn_id: str) -> tuple[float, bytes] | None:
        mine = self._held.get(tenant)
        found = None if mine is None else mine.get(turn_id)
        if mine is None or found is None:
            return None
        if found[0] <= self._clock():
            self._drop(tenant, turn_id)
            return None
        mine.move_to_end(turn_id)
        return found

    def _keep(self, tenant: str, turn_id: str, expires_s: float, turn: bytes) -> None:
        self._drop(tenant, turn_id)
        size = len(turn) + _ENTRY_BYTES
        if size > self._local_bytes:
            return
        while self._size + size > self._local_bytes:
            most = max(self._sizes, key=self._sizes.__getitem__)
            self._drop(most, next(iter(self._held[most])))
        self._held.setdefault(tenant, OrderedDict())[turn_id] = (expires_s, turn)
        self._sizes[tenant] = self._sizes.get(tenant, 0) + size
        self._size += size

    def _drop(self, tenant: str, turn_id: str) -> None:
        mine = self._held.get(tenant)
        found = None if mine is None else mine.pop(turn_id, None)
        if found is not None:
            size = len(found[1]) + _ENTRY_BYTES
            self._size -= size
            self._sizes[tenant] -= size
            if not self._held[tenant]:
                del self._held[tenant], self._sizes[tenant]


def _key(tenant: str, turn_id: str) -> str:
    return f"turn:{key_of(tenant.encode(), turn_id.encode())}"
