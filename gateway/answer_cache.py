"""Answers that models gave, for requests that ask the same again: in this process first, in Redis behind it.

A key holds the tenant and a digest of everything in the request that can change its answer. An entry holds the text,
who gave it, and the quality that was predicted of them.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from gateway.shared_store import SharedStore
from gateway.wire.request import Inbound
from routers.null_experts.guards import Signature

#: Of an entry in Redis; another replica may run another version.
_VERSION: Final = 1
#: Fields that do not change what an answer says: how it is sent, and who is billed or watched for it. Answers are kept
#: of routed requests only, so `model` says nothing either.
_IMMATERIAL: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
    }
)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is kept.

    Attributes:
        text: What it says.
        expert: Who gave it.
        quality: Quality predicted of that expert on that prompt, in [0, 1].
        names: What the question names; only where it is kept for questions in other words.
        vector: Of the question, likewise; shape (dim,).
    """

    text: str
    expert: str
    quality: float
    names: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()


class AnswerCache:
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
        self._local: OrderedDict[str, tuple[float, KeptAnswer]] = OrderedDict()

    @staticmethod
    def key(tenant: str, inbound: Inbound) -> str:
        """A key that holds the tenant and everything that can change the answer, and nothing readable of either."""
        return _digest(tenant, inbound.endpoint.value, _material(inbound))

    @staticmethod
    def near_key(tenant: str, inbound: Inbound, said: Signature) -> str:
        """As `key`, for every wording of the last message that says the same; what is named there is not in it."""
        asked = _material(inbound)
        asked["messages"] = asked["messages"][:-1]
        said_alike = [said.numbers, said.negations, said.asks, said.words]
        return _digest(tenant, inbound.endpoint.value, asked, said_alike)

    async def get(self, key: str) -> KeptAnswer | None:
        """The answer, None where there is none."""
        found = self._local.get(key)
        if found is not None:
            expires, answer = found
            if expires >= self._clock():
                self._local.move_to_end(key)
                return answer
            del self._local[key]
        if self._store is None:
            return None
        raw = await self._store.get(f"answer:{key}")
        kept = None if raw is None else _decode(raw)
        if kept is not None:
            self._keep(key, kept)
        return kept

    def put(self, key: str, answer: KeptAnswer) -> None:
        """Keep in both levels; the shared one behind the request's back."""
        self._keep(key, answer)
        if self._store is not None:
            self._store.put(f"answer:{key}", orjson.dumps({"v": _VERSION, **asdict(answer)}), self._ttl_s)

    def _keep(self, key: str, answer: KeptAnswer) -> None:
        self._local[key] = (self._clock() + self._ttl_s, answer)
        self._local.move_to_end(key)
        while len(self._local) > self._entries:
            self._local.popitem(last=False)


def _material(inbound: Inbound) -> dict[str, Any]:
    """What can change the answer."""
    return {name: value for name, value in inbound.payload.items() if name not in _IMMATERIAL}


def _digest(tenant: str, endpoint: str, *asked: object) -> str:
    """Of a tenant's request. Every part is length-prefixed, so that parts cannot mix."""
    hashed = hashlib.blake2b(digest_size=20)
    for part in (
        tenant.encode(),
        endpoint.encode(),
        *(orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in asked),
    ):
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.hexdigest()


def _decode(raw: bytes) -> KeptAnswer | None:
    """None for anything that is not ours, such as an entry of another version."""
    try:
        data = orjson.loads(raw)
        if data["v"] != _VERSION:
            return None
        text, expert, quality = str(data["text"]), str(data["expert"]), float(data["quality"])
        return KeptAnswer(text, expert, quality, tuple(map(str, data["names"])), tuple(map(float, data["vector"])))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
