"""How urgent a request is: `routing.priority` and `routing.deadline_ms`, or the headers that state the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pointsman.gateway.errors import invalid_budget

DEADLINE_HEADER: Final = b"x-pointsman-deadline-ms"
_PRIORITY_HEADER: Final = b"x-pointsman-priority"


class Priority(IntEnum):
    """Who goes first where requests wait for room; the wire says the name in lower case."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


_PRIORITIES: Final = {priority.name.lower(): priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class Urgency:
    """What the caller states.

    Attributes:
        priority: Among the requests that wait; None for the operator's default.
        deadline_ms: From the request's last byte to the first byte of its answer; None without one.
    """

    priority: Priority | None = None
    deadline_ms: float | None = None


#: Of callers who state nothing.
NOT_URGENT: Final = Urgency()


def parse_urgency(routing: object, headers: Mapping[bytes, bytes]) -> Urgency:
    """What the caller states; the body wins over the headers.

    Raises:
        RequestRefused: The priority is none of `low`, `normal` and `high`, or the deadline no positive number.
    """
    stated = routing if isinstance(routing, dict) else {}
    priority, field = stated.get("priority"), "routing.priority"
    if priority is None and (raw := headers.get(_PRIORITY_HEADER)) is not None:
        priority, field = raw.decode("latin-1").strip().lower(), _PRIORITY_HEADER.decode()
    if priority is not None and (not isinstance(priority, str) or priority not in _PRIORITIES):
        raise invalid_budget(field, f"must be one of {', '.join(_PRIORITIES)}")
    deadline, field = stated.get("deadline_ms"), "routing.deadline_ms"
    if deadline is None and (raw := headers.get(DEADLINE_HEADER)) is not None:
        field = DEADLINE_HEADER.decode()
        try:
            deadline = float(raw)
        except ValueError:
            deadline = raw
    if deadline is not None and not _positive(deadline):
        raise invalid_budget(field, "must be a number of milliseconds above 0")
    return Urgency(None if priority is None else _PRIORITIES[priority], deadline)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(float(value))
