"""How long an answer may get, and how many are asked for: what a request can cost hangs on both.

Servers differ in which field they read where several are stated. The largest counts here, so that it does not matter
whose reading an expert shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.fields import invalid
from pointsman.gateway.wire.request_fields import ANSWERS, COUNTED, LIMITS, OWN_LIMITS, WRAPPERS


class AnswerBounds(NamedTuple):
    """What a request states of its answers.

    Attributes:
        limit: The largest limit of one answer in tokens; None where none is known.
        unread: The field that limits an answer in a way that only the expert can read: it is no whole number of at
            least 1, or none of the endpoint's own. None where there is none; else `limit` is None.
        answers: How many answers to one prompt.
    """

    limit: int | None = None
    unread: str | None = None
    answers: int = 1


_UNSTATED: Final = AnswerBounds()


def read_bounds(endpoint: Endpoint, payload: Mapping[str, Any]) -> AnswerBounds:
    """What a request states of its answers.

    Args:
        endpoint: What the client called.
        payload: Its body.

    Raises:
        RequestRefused: A field that multiplies the work is not a whole number.
    """
    found = COUNTED.intersection(payload)
    if not found:
        return _UNSTATED
    own_limits = OWN_LIMITS.get(endpoint, frozenset())
    if len(found) == 1 and not found.isdisjoint(own_limits):
        (name,) = found
        value = payload[name]
        if type(value) is int and value > 0:
            return AnswerBounds(value)
    limit, answers, own = 0, 1, False
    stated: str | None = None
    unread: str | None = None
    for path, value in _stated(payload, found):
        name = path.rpartition(".")[2]
        whole = type(value) is int
        if name in LIMITS:
            stated = stated or path
            own = own or path in own_limits
            if whole and value > 0:
                limit = max(limit, value)
            else:
                unread = unread or path
        elif name in ANSWERS:
            if not whole or value < 1:
                raise invalid(path, "a whole number of at least 1")
            answers = max(answers, value)
        elif not isinstance(value, bool) and (not whole or value < 0):
            raise invalid(path, "a whole number of at least 0, or true or false")
    if stated is not None and not own:
        unread = unread or stated
    return AnswerBounds(limit if limit and unread is None else None, unread, answers)


def _stated(payload: Mapping[str, Any], found: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The fields at the top, and in what some servers read beside it; null states nothing."""
    for name in sorted(found) if len(found) > 1 else found:
        value = payload[name]
        if name in WRAPPERS:
            if isinstance(value, dict):
                inside = COUNTED.intersection(value) - WRAPPERS
                yield from ((f"{name}.{one}", value[one]) for one in sorted(inside) if value[one] is not None)
        elif value is not None:
            yield name, value
