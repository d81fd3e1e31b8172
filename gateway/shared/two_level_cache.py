"""A cache with two levels: this process, then Redis for all replicas. It holds decisions, answers and sessions."""

from __future__ import annotations

import hashlib
import struct
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final, Generic, TypeVar

from pointsman.gateway.shared.store import SharedStore

V = TypeVar("V")

#: When a shared value dies, in front of it.
_EXPIRY: Final = struct.Struct(">d")


class TwoLevelCache(ABC, Generic[V]):
    """Two levels: an LRU in this process, and Redis shared by all replicas.

    Args:
        entries: Size of the local level.
        ttl_s: How long an entry lives, in both levels.
        store: The shared level, None without one.
        clock: Monotonic seconds.
        wall_clock: Seconds that mean the same to every replica.
    """

    #: Put before every key in Redis.
    kind: ClassVar[str]

    def __init__(
        self,
        *,
        entries: int,
        ttl_s: int,
        store: SharedStore | None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.entries = entries
        self._ttl_s = ttl_s
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._local: OrderedDict[str, tuple[float, V]] = OrderedDict()

    @staticmethod
    @abstractmethod
    def encode(value: V) -> bytes:
        """A value as Redis holds it."""

    @staticmethod
    @abstractmethod
    def decode(raw: bytes) -> V | None:
        """The inverse; None for anything that is not ours, such as an entry of another version."""

    @property
    def shared(self) -> bool:
        """Whether there is a shared level."""
        return self._store is not None

    def get_local(self, key: str) -> V | None:
        """The local level alone: no waiting."""
        found = self._local.get(key)
        if found is None:
            return None
        expires_s, value = found
        if expires_s < self._clock():
            del self._local[key]
            return None
        self._local.move_to_end(key)
        return value

    async def get_shared(self, key: str) -> V | None:
        """The shared level alone; what it finds moves into the local one."""
        raw = None if self._store is None else await self._store.get(f"{self.kind}:{key}")
        if raw is None or len(raw) < _EXPIRY.size:
            return None
        # An entry read from Redis keeps its remaining lifetime; the lifetime does not start again.
        (expires_s,) = _EXPIRY.unpack_from(raw)
        left_s = expires_s - self._wall_clock()
        if not 0.0 < left_s <= self._ttl_s:
            return None
        mine = self._local.get(key)
        if mine is not None and mine[0] - self._clock() > left_s:
            # Newer: this process put it since, and the shared level has not heard of it yet.
            return mine[1]
        value = self.decode(raw[_EXPIRY.size :])
        if value is not None:
            self.keep(key, value, left_s)
        return value

    def put(self, key: str, value: V) -> None:
        """Keep in both levels; the shared one behind the request's back."""
        self.keep(key, value)
        if self._store is not None:
            expiry = _EXPIRY.pack(self._wall_clock() + self._ttl_s)
            self._store.put(f"{self.kind}:{key}", expiry + self.encode(value), self._ttl_s)

    def keep(self, key: str, value: V, ttl_s: float | None = None) -> None:
        """Keep in this process alone, for its own time to live or another."""
        self._local[key] = (self._clock() + (self._ttl_s if ttl_s is None else ttl_s), value)
        self._local.move_to_end(key)
        while len(self._local) > self.entries:
            self._local.popitem(last=False)


def key_of(*parts: bytes) -> str:
    """A key of which nothing can be read. Every part is length-prefixed, so that parts cannot mix."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
