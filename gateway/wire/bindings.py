"""What ties a request to one expert.

Only the server that gave a response has it, and only the maker of encrypted reasoning can read it. Another expert can
only return an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.gateway.wire.turns import is_reference, previous_message

#: Of Messages.
THREAD_ID: Final = "thread.previous_message_id"


@dataclass(frozen=True, slots=True)
class Binding:
    """What only the expert that made it can read.

    Attributes:
        ids: Of the responses and items that were made by it; empty where they carry none.
        param: Where the first of them stands.
        named: The id there, where it stands for all that is to be gone on from; None where that is there, but sealed.
    """

    ids: tuple[str, ...]
    param: str
    named: str | None = None


def thread_binding_of(payload: Mapping[str, Any]) -> Binding | None:
    """What ties a request to Messages: the message that its thread continues from."""
    previous = previous_message(payload)
    return None if previous is None else Binding((previous,), THREAD_ID, previous)


def binding_of(payload: Mapping[str, Any]) -> Binding | None:
    """What ties a request to Responses: an earlier response or conversation, a named item, encrypted reasoning."""
    found: list[tuple[str, object]] = []
    if previous := payload.get("previous_response_id"):
        found.append(("previous_response_id", previous))
    if conversation := payload.get("conversation"):
        found.append(("conversation", conversation.get("id") if isinstance(conversation, dict) else conversation))
    items = payload.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if is_reference(item):
            found.append((f"input[{index}].id", item.get("id")))
        elif item.get("encrypted_content"):
            found.append((f"input[{index}].encrypted_content", item.get("id")))
    if not found:
        return None
    param, first = found[0]
    named = first if isinstance(first, str) and not param.endswith("encrypted_content") else None
    return Binding(tuple(one for _, one in found if isinstance(one, str) and one), param, named)
