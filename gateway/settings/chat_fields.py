"""Which fields and roles of a chat an expert knows, where its settings do not say: by its server and its model."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from pointsman.experts.spec import InstructingRole, LimitField

#: Servers of OpenAI's own API, and of Azure's, which follows it.
_OPENAIS: Final = ("openai.com", "openai.azure.com", "cognitiveservices.azure.com")
#: The last part of a model's id; a fine-tuned model names what it was made of first.
_REASONING: Final = re.compile(r"(?:ft:)?(?:(?:o[1-9]|gpt-[5-9]|gpt-[1-9][0-9])(?![0-9a-z])|codex-)")
_ANSWERING: Final = re.compile(r"(?:ft:)?(?:gpt-[34]|chatgpt-)")


def usual_limit_field(address: str | None, model: str) -> LimitField:
    """The name of the limit.

    Args:
        address: Of a server that gets requests as they are; None where a backend sees to their fields itself.
        model: As the server knows it.
    """
    if address is None:
        return LimitField.EITHER
    return LimitField.MAX_COMPLETION_TOKENS if _openais(address, model) else LimitField.MAX_TOKENS


def usual_instructing_role(address: str | None, model: str) -> InstructingRole:
    """The roles of instructions; arguments as above."""
    return InstructingRole.ANY if address is None or _openais(address, model) else InstructingRole.SYSTEM


def usual_reasoning_effort(model: str) -> bool:
    """Whether the field is known, or does no harm: all but OpenAI ignore what they do not know, or know it."""
    return _ANSWERING.match(_bare(model)) is None


def _openais(address: str, model: str) -> bool:
    host = (urlsplit(address).hostname or "").rstrip(".")
    return any(host == one or host.endswith(f".{one}") for one in _OPENAIS) or bool(_REASONING.match(_bare(model)))


def _bare(model: str) -> str:
    return model.rpartition("/")[2].lower()
