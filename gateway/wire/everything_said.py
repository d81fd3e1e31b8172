"""What is said in a request beside the text that is classified."""

from __future__ import annotations

from typing import Any

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.reading import PromptReader, read_document
from pointsman.gateway.wire.request import Inbound
from pointsman.gateway.wire.request_fields import by_user, text_field


def everything_said(inbound: Inbound, *, instructions: bool = True) -> PromptReader:
    """All texts of a request as its client wrote them, and where something stands that nobody here can read.

    Args:
        inbound: The request.
        instructions: Whether to read what the system says, too.
    """
    translated = inbound.translated
    payload = inbound.payload if translated is None else translated.payload
    return read_document(inbound.asked, payload, instructions=instructions)


def told_apart(inbound: Inbound) -> tuple[str, ...]:
    """What the user says beside, or within, the text that is classified: earlier turns, and what that text is made of.

    Each may be about something else: one of several prompts, or one part of a turn.
    """
    parts: tuple[str, ...] = ()
    if inbound.endpoint is Endpoint.COMPLETIONS:
        prompt = inbound.payload["prompt"]
        parts = tuple(one for one in prompt if isinstance(one, str)) if isinstance(prompt, list) else ()
    elif inbound.endpoint is Endpoint.CHAT:
        messages: list[dict[str, Any]] = inbound.payload["messages"]
        content = next((one.get("content") for one in reversed(messages) if by_user(one["role"])), None)
        if isinstance(content, list) and len(content) > 1:
            parts = tuple(part[field] for part in content if (field := text_field(part)) is not None)
    return (*inbound.earlier, *(parts if len(parts) > 1 else ()))
