"""Who answered the previous turn of a session: in this process first, in Redis for the other replicas.

A session is what a client calls one, within its tenant: keys hold both, and two tenants with the same word never meet.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.shared_store import SharedStore


class Sessions:
    """Two levels: an LRU in this process, and Redis shared by all replicas.

    Args:
        entries: Size of the local level.
        ttl_s: How long a session without a request is remembered.
        store: The shared level, None without one.
        clock: Monotonic seconds.
    """

    def __init__(
        self, *, entries: int, ttl_s: int, store: SharedStore | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._store = store
        self._clock = clock
        self._local: OrderedDict[str, tuple[float, str]] = OrderedDict()

    @staticmethod
    def key(tenant: str, session: str) -> str:
        """A key that holds the tenant, and nothing readable of the session. The tenant's length keeps the two apart."""
        named = tenant.encode()
        said = session.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(len(named).to_bytes(8, "little") + named + said, digest_size=20).hexdigest()

    async def previous(self, key: str) -> str | None:
        """The expert that answered last; None for a new session.

        Where there is Redis, another replica may have answered since, so it is asked first.
        """
        if self._store is not None:
            raw = await self._store.get(f"session:{key}")
            if raw is not None:
                return raw.decode("utf-8", "replace")
        found = self._local.get(key)
        if found is None or found[0] < self._clock():
            return None
        return found[1]

    def remember(self, key: str, expert: str) -> None:
        """The expert answered; the shared level learns it behind the request's back."""
        self._local[key] = (self._clock() + self._ttl_s, expert)
        self._local.move_to_end(key)
        while len(self._local) > self._entries:
            self._local.popitem(last=False)
        if self._store is not None:
            self._store.put(f"session:{key}", expert.encode(), self._ttl_s)
