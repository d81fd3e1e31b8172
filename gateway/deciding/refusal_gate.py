"""What of a request is refused: every text in it is looked at, wherever it stands.

A phrase that is blocked in the user's turn is blocked in a tool's result, a document and one of several prompts, too:
an expert reads them all. What may hold words that nobody here can read is refused by name.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from pointsman.gateway.deciding.embedding import embed_one
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.everything_said import everything_said
from pointsman.gateway.wire.request import Inbound
from pointsman.routers.null_experts.examples import Examples, Match, unit
from pointsman.routers.protocols import Embedder
from pointsman.routers.safety.scorer import NOTHING_SAID, SafetyScore, SafetyScorer

#: Texts whose findings are remembered: a conversation brings its earlier turns and its tools along every time.
_REMEMBERED: Final = 4_096
#: Texts that are looked at before other requests get their turn.
_AT_ONCE: Final = 32
#: A longer text takes milliseconds, and others get their turn after it.
_LONG_CHARS: Final = 2_000

#: The nearest example of a blocked topic, and the safety score; None for what is not near enough, or not asked for.
_Found = tuple[Match | None, SafetyScore | None]


@dataclass(frozen=True, slots=True)
class GateResult:
    """What was found in a request.

    Attributes:
        topic: The example of a blocked topic that is nearest to any of its texts; None where none is near enough.
        safety: The worst score of its texts; None where nobody scores.
        unread: Where something stands that may hold words nobody here can read; None where nothing does.
    """

    topic: Match | None
    safety: SafetyScore | None
    unread: str | None


def cannot_read(where: str) -> RequestRefused:
    """What stands there may be what is blocked."""
    return RequestRefused(
        Code.INVALID_VALUE,
        f"{where}: this gateway refuses some of what is asked, and cannot read this. Send it as text.",
        param=where,
    )


class RefusalGate:
    """Looks at requests.

    Args:
        topics: Examples of the blocked topics; None where there are none.
        embedder: Theirs.
        scorer: Of safety; None where it is off.
        system_prompts: Whether to look at what the system says, too.
    """

    def __init__(
        self, topics: Examples | None, embedder: Embedder, scorer: SafetyScorer | None, *, system_prompts: bool
    ) -> None:
        self._system_prompts = system_prompts
        self._topics = topics
        self._embedder = embedder
        self._scorer = scorer
        self._found: OrderedDict[bytes, _Found] = OrderedDict()

    async def look(self, inbound: Inbound) -> GateResult:
        """Look at every text of a request."""
        said = everything_said(inbound, instructions=self._system_prompts)
        topic: Match | None = None
        safety = None if self._scorer is None else NOTHING_SAID
        # The turns as they are classified stand first: the parts of one are one text there.
        for number, text in enumerate(dict.fromkeys((inbound.text, *inbound.earlier, *said.texts)), 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            near, score = await self._look_at(text)
            if len(text) > _LONG_CHARS:
                await asyncio.sleep(0)
            if near is not None and (topic is None or near.similarity > topic.similarity):
                topic = near
            if safety is not None and score is not None and score.score > safety.score:
                safety = score
        return GateResult(topic, safety, said.unread)

    async def _look_at(self, text: str) -> _Found:
        if not text or text.isspace():
            return None, None
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._found.get(key)
        if found is None:
            near = None
            if self._topics is not None:
                near = self._topics.nearest(unit(await embed_one(self._embedder, text)))
            found = near, None if self._scorer is None else self._scorer.judge(text)
            self._found[key] = found
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        return found
