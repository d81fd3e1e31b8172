"""What is remembered of conversations between their requests: from the settings to the parts that remember."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.gateway.parts import Parts
from pointsman.gateway.settings import Settings
from pointsman.gateway.shared.made_ids import MadeIds
from pointsman.gateway.shared.sessions import Sessions
from pointsman.gateway.shared.store import SharedStore
from pointsman.gateway.shared.turn_cache import TurnCache


@dataclass(frozen=True, slots=True)
class ConversationMemory:
    """All of it.

    Attributes:
        sessions: Who answered last.
        made: Which expert made what a request may name.
        turns: What was said where no expert keeps it.
    """

    sessions: Sessions
    made: MadeIds
    turns: TurnCache


def create_conversation_memory(settings: Settings, store: SharedStore | None, parts: Parts) -> ConversationMemory:
    """Make what remembers, or take it from the earlier App.

    Args:
        settings: The whole tree.
        store: Redis, None without one.
        parts: The App's parts.
    """
    kept = settings.conversations
    ttl_s, ids_ttl_s = int(kept.ttl_s), int(kept.ids_ttl_s)
    return ConversationMemory(
        parts.get(
            "sessions",
            (kept.local_entries, ttl_s, store),
            lambda: Sessions(entries=kept.local_entries, ttl_s=ttl_s, store=store),
        ),
        parts.get(
            "made",
            (kept.ids_local_entries, ids_ttl_s, store),
            lambda: MadeIds(entries=kept.ids_local_entries, ttl_s=ids_ttl_s, store=store),
        ),
        parts.get(
            "turns",
            (kept.turn_max_bytes, kept.turns_local_bytes, ttl_s, store),
            lambda: TurnCache(
                most_bytes=kept.turn_max_bytes, local_bytes=kept.turns_local_bytes, ttl_s=ttl_s, store=store
            ),
        ),
    )
