"""The key of a conversation whose client does not name it: its first messages."""

from __future__ import annotations

import orjson

from pointsman.gateway.wire.request import Inbound


def opening_of(inbound: Inbound) -> str | None:
    """The client's `prompt_cache_key` if it sends one, else all messages up to the user's first; None without any.

    Every later turn of a conversation repeats them, so they are the same for all of its turns. Two conversations that
    begin alike are taken for one.
    """
    asked = inbound.payload if inbound.translated is None else inbound.translated.payload
    key = asked.get("prompt_cache_key")
    if isinstance(key, str) and key:
        return f"key:{key}"
    messages = inbound.payload.get("messages")
    if not isinstance(messages, list):
        return None
    for index, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return "opening:" + orjson.dumps(messages[: index + 1]).decode()
    return None
