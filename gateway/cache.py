"""The decision cache: what the router thinks of a prompt, per tenant, in this process first and in Redis behind it.

Cached is the `Assessment`, the costly half of a decision that depends on the prompt alone. The other half (budgets,
load, health) is decided anew for every request, so that a cached decision can never break a cap or pick a dead expert.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

import numpy as np
import orjson

from experts.spec import Source
from gateway.shared_store import SharedStore
from routers.types import AnswerLengths, Assessment, Classification, Figures, Qualities

#: Of an entry in Redis; another replica may run another version.
_VERSION = 2


class Hit(StrEnum):
    """Where an assessment came from; the value of the `x-pointsman-cache` header."""

    LOCAL = "hit-local"
    REDIS = "hit-redis"
    MISS = "miss"
    BYPASS = "bypass"


class DecisionCache:
    """Two levels: an LRU in this process, and Redis shared by all replicas.

    Args:
        entries: Size of the local level.
        ttl_s: How long an entry lives, in both levels.
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
        self._local: OrderedDict[bytes, tuple[float, Assessment]] = OrderedDict()

    @staticmethod
    def key(tenant: str, artifact_hash: str, text: str) -> bytes:
        """A key that holds the tenant and no readable text. Every part is length-prefixed, so that parts cannot mix."""
        digest = hashlib.blake2b(digest_size=20)
        for part in (tenant.encode(), artifact_hash.encode(), text.encode("utf-8", "surrogatepass")):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.digest()

    def get_local(self, key: bytes) -> Assessment | None:
        """The local level alone: no waiting."""
        entry = self._local.get(key)
        if entry is None:
            return None
        expires, assessment = entry
        if expires < self._clock():
            del self._local[key]
            return None
        self._local.move_to_end(key)
        return assessment

    async def get_shared(self, key: bytes) -> Assessment | None:
        """The shared level; what it finds moves into the local one."""
        if self._store is None:
            return None
        raw = await self._store.get(_redis_key(key))
        if raw is None:
            return None
        assessment = _decode(raw)
        if assessment is not None:
            self._keep(key, assessment)
        return assessment

    def put(self, key: bytes, assessment: Assessment) -> None:
        """Keep in both levels; the shared one behind the request's back."""
        self._keep(key, assessment)
        if self._store is not None:
            self._store.put(_redis_key(key), _encode(assessment), self._ttl_s)

    def _keep(self, key: bytes, assessment: Assessment) -> None:
        self._local[key] = (self._clock() + self._ttl_s, assessment)
        self._local.move_to_end(key)
        while len(self._local) > self._entries:
            self._local.popitem(last=False)


def _redis_key(key: bytes) -> str:
    return "assessment:" + key.hex()


def _encode(assessment: Assessment) -> bytes:
    kind, quality, lengths = assessment.classification, assessment.quality, assessment.completion_tokens
    return orjson.dumps(
        {
            "v": _VERSION,
            "posterior": dict(kind.posterior),
            "category": kind.category,
            "entropy": kind.entropy,
            "out_of_scope": kind.out_of_scope,
            "uncertain": kind.uncertain,
            # orjson writes NaN as null; `_figures` turns it back.
            "quality": [quality.experts, quality.mean.tolist(), quality.std.tolist(), quality.sources],
            "tokens": [lengths.experts, lengths.mean.tolist(), lengths.q95.tolist()],
            "artifact_hash": assessment.artifact_hash,
        }
    )


def _decode(raw: bytes) -> Assessment | None:
    """None for anything that is not ours, such as an entry of another version."""
    try:
        data = orjson.loads(raw)
        if data["v"] != _VERSION:
            return None
        experts, mean, std, sources = data["quality"]
        known, expected, q95 = data["tokens"]
        return Assessment(
            classification=Classification(
                posterior=data["posterior"],
                category=data["category"],
                entropy=math.nan if data["entropy"] is None else data["entropy"],
                out_of_scope=data["out_of_scope"],
                uncertain=data["uncertain"],
            ),
            quality=Qualities(tuple(experts), _figures(mean), _figures(std), tuple(map(Source, sources))),
            completion_tokens=AnswerLengths(tuple(known), _figures(expected), _figures(q95)),
            artifact_hash=data["artifact_hash"],
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _figures(values: list[float | None]) -> Figures:
    return np.array(values, dtype=np.float64)
