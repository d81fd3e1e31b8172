"""Answers of models, for requests that ask the same again: first from this process, then from Redis.

A key holds the tenant and a digest of everything in the request that can change its answer. An entry holds the text,
the expert that gave it, and the quality that was predicted for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from pointsman.gateway.shared.two_level_cache import TwoLevelCache, key_of
from pointsman.gateway.wire.plain_question import IMMATERIAL
from pointsman.gateway.wire.request import Inbound
from pointsman.routers.null_experts.guards import Signature

#: Of an entry in Redis; another replica may run another version.
_VERSION: Final = 1


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


class AnswerCache(TwoLevelCache[KeptAnswer]):
    """Answers by tenant and request."""

    kind = "answer"

    @staticmethod
    def key(tenant: str, inbound: Inbound) -> str:
        """A key that holds the tenant and everything that can change the answer, and nothing readable of either."""
        return _key(tenant, inbound.endpoint.value, _material(inbound))

    @staticmethod
    def near_key(tenant: str, inbound: Inbound, said: Signature) -> str:
        """As `key`, for every wording of the last message that says the same; what is named there is not in it."""
        asked = _material(inbound)
        asked["messages"] = asked["messages"][:-1]
        said_alike = [said.numbers, said.negations, said.asks, said.words, said.hard]
        return _key(tenant, inbound.endpoint.value, asked, said_alike)

    @staticmethod
    def encode(value: KeptAnswer) -> bytes:
        """As JSON."""
        return orjson.dumps({"v": _VERSION, **asdict(value)})

    @staticmethod
    def decode(raw: bytes) -> KeptAnswer | None:
        """The inverse; None for anything that is not ours, such as an entry of another version."""
        try:
            data = orjson.loads(raw)
            if data["v"] != _VERSION:
                return None
            text, expert, quality = str(data["text"]), str(data["expert"]), float(data["quality"])
            return KeptAnswer(text, expert, quality, tuple(map(str, data["names"])), tuple(map(float, data["vector"])))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    async def get(self, key: str) -> KeptAnswer | None:
        """The answer, None where there is none."""
        return self.get_local(key) or await self.get_shared(key)


def _material(inbound: Inbound) -> dict[str, Any]:
    """What can change the answer. Answers are kept of routed requests only, so `model` cannot."""
    return {name: value for name, value in inbound.payload.items() if name != "model" and name not in IMMATERIAL}


def _key(tenant: str, endpoint: str, *asked: object) -> str:
    written = (orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in asked)
    return key_of(tenant.encode(), endpoint.encode(), *written)
