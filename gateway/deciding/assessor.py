"""The assessment of a prompt for a request: from the cache of this process, from Redis, or from the router."""

from __future__ import annotations

import asyncio
from typing import Final

from pointsman.gateway.deciding.question import Assessed, Question
from pointsman.gateway.shared.decision_cache import DecisionCache
from pointsman.gateway.wire.caching import CacheStatus
from pointsman.routers.protocols import RouterProtocol
from pointsman.routers.types import Assessment, RouteRequest

#: Characters from which on asking Redis for an assessment costs less of the event loop's time than making it.
_WORTH_ASKING_CHARS: Final = 8_000


class Assessor:
    """Assesses texts, each once as long as a cache remembers it.

    Args:
        router: Assesses.
        cache: Of assessments, None for none.
    """

    def __init__(self, router: RouterProtocol, cache: DecisionCache | None) -> None:
        self._router = router
        self._cache = cache

    def now(self, question: Question, text: str, key: str = "") -> Assessed | None:
        """The assessment of a text where it is here, or is made sooner than Redis could answer; else None.

        `key` is its key in the cache, where that is known already.
        """
        cache, slow = self._cache, self._router.slow
        if cache is not None:
            key = key or cache.key(question.tenant, self._router.artifact_hash, text)
            found = cache.get_local(key)
            if found is not None:
                return found, CacheStatus.LOCAL
            if slow or (cache.shared and len(text) >= _WORTH_ASKING_CHARS):
                return None
        elif slow:
            return None
        made = self._router.assess(question.request(text))
        if cache is None:
            return made, CacheStatus.BYPASS
        cache.keep(key, made)
        return made, CacheStatus.MISS

    async def of(self, question: Question, text: str, key: str = "") -> Assessed:
        """The assessment of a text that is not in this process, from Redis where it is there."""
        cache = self._cache
        if cache is None:
            return await self._assess(question.request(text)), CacheStatus.BYPASS
        key = key or cache.key(question.tenant, self._router.artifact_hash, text)
        found = await cache.get_shared(key)
        if found is not None:
            return found, CacheStatus.REDIS
        made = await self._assess(question.request(text))
        cache.put(key, made)
        return made, CacheStatus.MISS

    async def _assess(self, request: RouteRequest) -> Assessment:
        """On the event loop where it takes a fraction of a millisecond, in a thread where it does not."""
        if self._router.slow:
            return await asyncio.to_thread(self._router.assess, request)
        return self._router.assess(request)
