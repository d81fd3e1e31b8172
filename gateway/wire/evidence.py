"""Answers as evidence on the wire: `routing.evidence`."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.gateway.errors import invalid_budget

_FIELD = "routing.evidence"


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """What the caller wants.

    Attributes:
        wanted: Whether answers may be gathered and compared.
        max_calls: The caller's own limit, None for the operator's.
    """

    wanted: bool
    max_calls: int | None = None


def parse_evidence(routing: object) -> EvidenceOptions | None:
    """`true`, `false`, or an object with `max_calls`; None when the caller says nothing.

    Raises:
        RequestRefused: It is something else.
    """
    stated = routing.get("evidence") if isinstance(routing, dict) else None
    if stated is None:
        return None
    if isinstance(stated, bool):
        return EvidenceOptions(stated)
    if not isinstance(stated, dict):
        raise invalid_budget(_FIELD, "must be true, false, or an object")
    if unknown := sorted(stated.keys() - {"max_calls"}):
        raise invalid_budget(f"{_FIELD}.{unknown[0][:60]}", "unknown field; known is max_calls")
    calls = stated.get("max_calls")
    if calls is not None and (isinstance(calls, bool) or not isinstance(calls, int) or calls < 1):
        raise invalid_budget(f"{_FIELD}.max_calls", "must be a whole number of at least 1")
    return EvidenceOptions(True, calls)
