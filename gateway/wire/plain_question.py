"""Whether a request is one plain question, so that an answer without a model can answer it."""

from __future__ import annotations

from typing import Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.request import Inbound

#: Fields that do not change what an answer says: how it is sent, and who is billed or watched for it.
IMMATERIAL: Final = frozenset(
    {"stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
#: Fields that a ready answer may disregard: these, what is looked at elsewhere, and how a model would sample.
_DISREGARDED: Final = IMMATERIAL | frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens"}
    | {"temperature", "top_p", "seed", "frequency_penalty", "presence_penalty"}
)
#: Fields that change nothing when they have these values, which are also their defaults.
_HARMLESS: Final = {"n": 1, "logprobs": False, "response_format": {"type": "text"}, "modalities": ["text"]}


def why_not_plain(inbound: Inbound, *, beside_system_prompts: bool) -> str | None:
    """What makes the request more than one plain question; None when it is one.

    Args:
        inbound: The request.
        beside_system_prompts: Whether a system prompt before the question counts as nothing.
    """
    if inbound.endpoint is not Endpoint.CHAT:
        return "the request is no chat"
    for name, value in inbound.payload.items():
        if name in _DISREGARDED or value is None or (name in _HARMLESS and value == _HARMLESS[name]):
            continue
        return f"the request states '{name[:60]}', which it does not do"
    *before, last = inbound.payload["messages"]
    if last["role"] != "user" or any(message["role"] not in ("system", "developer") for message in before):
        return "the request is part of a conversation"
    if before and not beside_system_prompts:
        return "the request has a system prompt"
    return None if plain_text(last.get("content")) else "the question is not text alone"


def why_not_a_question(inbound: Inbound) -> str | None:
    """What keeps the request from ending in a question of plain text; None when it does."""
    if inbound.endpoint is not Endpoint.CHAT:
        return "the request is no chat"
    last = inbound.payload["messages"][-1]
    if last["role"] != "user" or not plain_text(last.get("content")):
        return "the request does not end in a question of plain text"
    return None if last.keys() <= {"role", "content"} else "the question says more than its text"


def plain_text(content: object) -> bool:
    """Whether the content of a message is text and nothing else."""
    if isinstance(content, str):
        return True
    return isinstance(content, list) and all(part.get("type") == "text" for part in content)


def fits(inbound: Inbound, answer: str) -> bool:
    """Whether an answer is surely within the caller's limit: no tokenizer makes more tokens than there are bytes."""
    limit = inbound.max_completion_tokens
    if inbound.work.unread_limit is not None:
        return False
    return limit is None or len(answer.encode("utf-8", "replace")) <= limit
