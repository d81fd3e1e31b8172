"""What kind of model an entry is of: one that chats, one that only turns text into numbers, or one for other things."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class ModelKind(StrEnum):
    """What a model does. The values are words of litellm's `model_info.mode`."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    OTHER = "other"


_MODES: Final[Mapping[str, ModelKind]] = {
    "chat": ModelKind.CHAT,
    "responses": ModelKind.CHAT,
    "completion": ModelKind.COMPLETION,
    "embedding": ModelKind.EMBEDDING,
    "embeddings": ModelKind.EMBEDDING,
    "rerank": ModelKind.RERANK,
}

#: What the names of models say that do not chat, where nothing else does.
_NAMED: Final = (
    (re.compile(r"rerank"), ModelKind.RERANK),
    (re.compile(r"embed|(?:^|[/-])bge-|(?:^|[/-])e5-|voyage-\d"), ModelKind.EMBEDDING),
    (
        re.compile(
            r"whisper|transcri|(?:^|[/-])tts(?:-|$)|-tts(?:-|$)|dall-e|gpt-image|imagen-|stable-diffusion|(?:^|[/-])flux"
            r"|sora-|veo-|moderation|realtime|(?:^|/)speech|-ocr(?:-|$)"
        ),
        ModelKind.OTHER,
    ),
)


def kind_of(model: str, name: str, info: Mapping[str, Any]) -> tuple[ModelKind, str]:
    """What a model does, and what says so (in words).

    Args:
        model: litellm's id of it.
        name: What clients call it.
        info: `model_info`.
    """
    mode = info.get("mode")
    if isinstance(mode, str) and mode:
        return _MODES.get(mode.lower(), ModelKind.OTHER), f"mode: {mode}"
    if model.startswith("text-completion-openai/"):
        return ModelKind.COMPLETION, "its provider"
    for words in (model.lower(), name.lower()):
        for pattern, kind in _NAMED:
            if pattern.search(words):
                return kind, "its name; model_info.mode could say otherwise"
    return ModelKind.CHAT, "nothing to the contrary"
