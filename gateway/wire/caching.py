"""Whether the answer cache may serve or store a request: `cache-control`, and `routing.cache`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pointsman.gateway.errors import invalid_budget


@dataclass(frozen=True, slots=True)
class CacheControl:
    """What the caller allows.

    Attributes:
        read: Answer with a kept answer.
        keep: Keep the answer for later requests.
    """

    read: bool = True
    keep: bool = True


#: Of callers who state nothing.
ANYTHING: Final = CacheControl()

#: Words of the header's directive and of `routing.cache`; `no-cache` asks for a fresh answer, which may be kept.
_WORDS: Final[dict[str, CacheControl]] = {
    "use": ANYTHING,
    "no-cache": CacheControl(read=False),
    "no-store": CacheControl(read=False, keep=False),
}


def parse_caching(routing: object, headers: Mapping[bytes, bytes]) -> CacheControl:
    """What the caller allows: `routing.cache`, else the header `cache-control`, whose other directives mean nothing.

    Raises:
        RequestRefused: `routing.cache` is none of `use`, `no-cache` and `no-store`.
    """
    stated = routing.get("cache") if isinstance(routing, dict) else None
    if stated is not None:
        if not isinstance(stated, str) or stated not in _WORDS:
            raise invalid_budget("routing.cache", f"must be one of {', '.join(_WORDS)}")
        return _WORDS[stated]
    raw = headers.get(b"cache-control")
    if raw is None:
        return _WORDS["use"]
    directives = {part.strip().lower() for part in raw.decode("latin-1").split(",")}
    for word in ("no-store", "no-cache"):
        if word in directives:
            return _WORDS[word]
    return _WORDS["use"]


class CacheStatus(StrEnum):
    """Where an assessment came from; the value of the `x-pointsman-cache` header."""

    LOCAL = "hit-local"
    REDIS = "hit-redis"
    MISS = "miss"
    BYPASS = "bypass"
