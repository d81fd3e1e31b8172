"""What ties a request to the expert that made a part of it, and what an answer makes that later requests are tied by.

Earlier responses lie with whoever gave them, and encrypted reasoning can be read by its maker alone: sent to another
expert, it is an error at best.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Of one answer, so many ids are remembered.
MOST_IDS: Final = 256
_PIECE_BYTES: Final = 64 * 1024
_LONGEST_BYTES: Final = 256

#: Ids of responses and of their output items, as OpenAI's servers and vLLM's write them.
_MADE: Final = re.compile(rb'"id"\s*+:\s*+"((?:resp|rs|msg|fc)_[!-~]{1,200}?)"')


@dataclass(frozen=True, slots=True)
class Binding:
    """What only the expert that made it can read.

    Attributes:
        ids: Of the responses and items that were made by it; empty where they carry none.
        param: Where the first of them stands.
    """

    ids: tuple[str, ...]
    param: str


def binding_of(payload: Mapping[str, Any]) -> Binding | None:
    """What ties a request to an expert: an earlier response or conversation, a named item, encrypted reasoning."""
    found: list[tuple[str, object]] = []
    if previous := payload.get("previous_response_id"):
        found.append(("previous_response_id", previous))
    if conversation := payload.get("conversation"):
        found.append(("conversation", conversation.get("id") if isinstance(conversation, dict) else conversation))
    items = payload.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if item.get("type") == "item_reference" or (item.get("type") is None and set(item) == {"id"}):
            found.append((f"input[{index}].id", item.get("id")))
        elif item.get("encrypted_content"):
            found.append((f"input[{index}].encrypted_content", item.get("id")))
    if not found:
        return None
    return Binding(tuple(one for _, one in found if isinstance(one, str) and one), found[0][0])


def made_in(data: bytes, most: int = MOST_IDS) -> set[str]:
    """The ids in an answer, or in events of one. Text cannot be mistaken for one: quotes are escaped in it.

    Args:
        data: JSON, or events.
        most: How many are read; an answer has a few.
    """
    found: set[str] = set()
    if b'"id"' not in data:
        return found
    # A long answer piece by piece: nothing else runs while one piece is searched.
    for begin in range(0, len(data), _PIECE_BYTES):
        for one in _MADE.finditer(data, begin, begin + _PIECE_BYTES + _LONGEST_BYTES):
            if len(found) >= most:
                return found
            found.add(one[1].decode("ascii"))
    return found
