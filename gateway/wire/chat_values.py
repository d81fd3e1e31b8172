"""Values of other APIs that a chat cannot take as they are."""

from __future__ import annotations

import hashlib
from typing import Final

from pointsman.gateway.wire.fields import invalid

#: The longest name of a user that all providers take: OpenAI's limit.
MOST_USER_CHARS: Final = 64
#: Efforts beyond what is generally known.
_BEYOND: Final = frozenset({"xhigh", "max"})


def user_of(name: str) -> str:
    """The name of a user: itself, or, where it is longer than providers take, 64 characters that stand for it."""
    if len(name) <= MOST_USER_CHARS:
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def effort_of(effort: object, param: str) -> str:
    """How hard to think, at most `high`: few servers know more.

    Args:
        effort: As the client says it.
        param: Where.

    Raises:
        RequestRefused: It is no string.
    """
    if not isinstance(effort, str) or not effort:
        raise invalid(param, "a string such as 'low', 'medium' or 'high'")
    return "high" if effort in _BEYOND else effort
