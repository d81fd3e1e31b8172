"""Safety routing: harmful prompts go to the refusal, grey ones to the cautious experts, benign ones to any expert.

MoGU (arXiv 2405.14488) blends a usable and a safe variant of one model by such a score. Among whole models the blend
becomes a choice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.null_experts import NullKind
from pointsman.gateway.settings.safety import SafetySettings
from pointsman.gateway.wire.request import Inbound
from pointsman.routers.artifacts import load_router
from pointsman.routers.embed import plain_embedder
from pointsman.routers.protocols import Embedder
from pointsman.routers.safety.artifacts import SHIPPED, load_scorer
from pointsman.routers.safety.scorer import SafetyScore, SafetyScorer

_DEFAULT: Final = "default"
#: A longer text takes milliseconds.
_LONG_CHARS: Final = 2_000


class HarmLevel(StrEnum):
    """What a prompt is taken for."""

    BENIGN = "benign"
    GREY = "grey"
    HARMFUL = "harmful"


@dataclass(frozen=True, slots=True)
class SafetyVerdict:
    """A request as safety routing sees it.

    Attributes:
        shade: What it is taken for.
        allowed: Experts that may answer it; None for all.
        detail: In words, with the score.
    """

    shade: HarmLevel
    allowed: frozenset[str] | None
    detail: str


class SafetyGate:
    """Scores requests and says what follows.

    Args:
        settings: The thresholds, and who is cautious.
        scorer: Gives the score.
    """

    def __init__(self, settings: SafetySettings, scorer: SafetyScorer) -> None:
        self._refuse_above = settings.refuse_above
        self._grey_from = settings.grey_from
        self._cautious = frozenset(settings.cautious)
        self._scorer = scorer

    async def judge(self, inbound: Inbound, allowed: frozenset[str] | None) -> SafetyVerdict:
        """Judge a request by the worst of the user's turns that are read. Others have their turn after a long one.

        Args:
            inbound: The request, without our own fields and flags.
            allowed: Experts that the caller lets answer, such as the one it names; None for all. A grey prompt that
                leaves no cautious expert among them is refused.
        """
        judged = []
        for text in {inbound.text, *inbound.earlier}:
            judged.append(self._scorer.judge(text))
            if len(text) > _LONG_CHARS:
                await asyncio.sleep(0)
        found = max(judged, key=lambda safety: safety.score)
        score = found.score
        if score >= self._refuse_above:
            return SafetyVerdict(HarmLevel.HARMFUL, allowed, f"{_said(found)}, from {self._refuse_above:g} on refused")
        if score < self._grey_from:
            return SafetyVerdict(HarmLevel.BENIGN, allowed, _said(found))
        if not self._cautious:
            return SafetyVerdict(HarmLevel.GREY, allowed, f"{_said(found)}: grey, and no expert is stated as cautious")
        cautious = self._cautious if allowed is None else self._cautious & allowed
        if not cautious:
            return SafetyVerdict(
                HarmLevel.HARMFUL, allowed, f"{_said(found)}: grey, and the request leaves out the cautious experts"
            )
        # The refusal is among them to say why it has no answer.
        return SafetyVerdict(
            HarmLevel.GREY,
            cautious | {NullKind.REFUSAL.value},
            f"{_said(found)}: grey, so that only cautious experts may answer",
        )


def safety_gate(settings: Settings, embedder: Embedder) -> SafetyGate | None:
    """The gate that the settings ask for, None where it is off.

    Args:
        settings: The whole tree.
        embedder: The router's. The score was fitted with that of the default router, which is loaded where this is
            another one.

    Raises:
        ArtifactError: The model that ships cannot be used.
    """
    if not settings.safety.enabled:
        return None
    if settings.router.artifact != _DEFAULT:
        embedder = load_router(_DEFAULT).embedder
    return SafetyGate(settings.safety, load_scorer(SHIPPED, plain_embedder(embedder)))


def _said(safety: SafetyScore) -> str:
    return f"safety score {safety.score:.2f}" + (f" ({', '.join(safety.signs)})" if safety.signs else "")
