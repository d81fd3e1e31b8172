"""Goals written into the prompt (`[Flag: smallest model]`): read from the latest turn, removed from all turns."""

from __future__ import annotations

from collections.abc import Sequence

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.request import Inbound, rewrite_user_text
from pointsman.routers.selection.flags import FlagPositions, ParsedFlags, apply_flags, parse_flags
from pointsman.routers.types import Budget, Flag


def take_flags(inbound: Inbound, budget: Budget, places: FlagPositions) -> Budget:
    """Strip the flags from the user's turns and apply those of the latest one to the budget.

    Earlier turns come along with every request of a conversation; their goals were for them.

    Args:
        inbound: The request; what the system, models and tools say in it is left alone.
        budget: What the caller allows.
        places: Where in a turn flags count.

    Raises:
        RequestRefused: The latest turn has a flag nobody knows.
    """
    found = ParsedFlags((), (), ())

    def without_flags(texts: Sequence[str]) -> Sequence[str]:
        nonlocal found
        found = parse_flags(texts, places)
        return found.texts

    rewrite_user_text(inbound, without_flags)
    if found.unknown:
        known = ", ".join(flag.value for flag in Flag)
        raise RequestRefused(
            Code.UNKNOWN_FLAG,
            f"The prompt's flag '{found.unknown[0][:80]}' is unknown; known are: {known}.",
            param="messages" if "messages" in inbound.payload else "prompt",
        )
    return apply_flags(budget, found.flags) if found.flags else budget
