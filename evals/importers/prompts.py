"""A prompt in any of the forms in which sources hold it -> its text, or its chat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pointsman.evals.importers.records import text_of


def prompt_text(given: Any) -> str | None:
    """The text of a prompt; of a chat its last turn of the user, of content in parts what is text.

    None for nothing.
    """
    turns = chat_turns(given)
    if turns is None:
        return text_of(given)
    told = [content_text(turn.get("content", turn.get("value"))) for turn in turns if _is_user(turn)]
    if not told:
        told = [content_text(turn.get("content", turn.get("value"))) for turn in turns[-1:]]
    return told[-1] if told else None


def chat_turns(given: Any) -> list[Mapping[str, Any]] | None:
    """The turns of a chat: a list of messages, its JSON text, or an object with `messages`; None for anything else."""
    if isinstance(given, str) and given.lstrip()[:2] in ("[{", '{"') and len(given) < 10_000_000:
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return None
    if isinstance(given, Mapping) and "messages" in given:
        given = given["messages"]
    if not isinstance(given, list | tuple) or not given:
        return None
    is_chat = all(isinstance(turn, Mapping) and ("role" in turn or "from" in turn) for turn in given)
    return list(given) if is_chat else None


def content_text(content: Any) -> str | None:
    """The text of a message's content; pictures and other parts have none."""
    if not isinstance(content, list | tuple):
        return text_of(content)
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "\n".join(part for part in parts if isinstance(part, str)) or None


def _is_user(turn: Mapping[str, Any]) -> bool:
    return turn.get("role", turn.get("from")) in ("user", "human")
