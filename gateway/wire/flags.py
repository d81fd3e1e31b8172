"""Goals written into the prompt (`[Flag: smallest model]`): read from the latest turn, removed from all turns."""

from __future__ import annotations

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.request import Inbound, rewrite_user_text
from pointsman.routers.selection.flags import apply_flags, parse_flags
from pointsman.routers.types import Budget, Flag


def take_flags(inbound: Inbound, budget: Budget) -> Budget:
    """Strip the flags from the request and apply those of the latest turn to the budget.

    Earlier turns come along with every request of a conversation; their goals were for them.

    Raises:
        RequestRefused: The latest turn has a flag nobody knows.
    """
    found = parse_flags(inbound.text)
    if found.unknown:
        known = ", ".join(flag.value for flag in Flag)
        raise RequestRefused(
            Code.UNKNOWN_FLAG,
            f"The prompt's flag '{found.unknown[0][:80]}' is unknown; known are: {known}.",
            param="messages" if "messages" in inbound.payload else "prompt",
        )
    rewrite_user_text(inbound, lambda text: parse_flags(text).text)
    return apply_flags(budget, found.flags) if found.flags else budget
