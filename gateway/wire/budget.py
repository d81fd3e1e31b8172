"""Budgets on the wire: the body's `routing` object and the `x-pointsman-*` headers become a `Budget`.

A header states the same as the field of the same name. If both are given, the body wins. Every error names the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from pointsman.gateway.errors import invalid_budget
from pointsman.routers.budget import CAPS, WEIGHTS, Budget, Cap, Weight, Weights

_PREFIX: Final = b"x-pointsman-"
#: Fields of `routing` beside caps.
_OTHERS: Final = ("weights", "local_only", "experts", "session", "cache", "evidence", "priority", "deadline_ms")
_SESSION_HEADER: Final = b"x-pointsman-session"
_MAX_SESSION_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class BudgetFields:
    """What a request may state of caps and weights.

    Attributes:
        caps: By name.
        weights: Names.
        headers: Header -> the cap, or the name of the weight, that it states.
        known: All fields of `routing`.
    """

    caps: Mapping[str, Cap]
    weights: tuple[str, ...]
    headers: Mapping[bytes, Cap | str]
    known: frozenset[str]

    @classmethod
    def of(cls, caps: Iterable[Cap], weights: Iterable[Weight]) -> BudgetFields:
        """Of a table of caps and one of weights."""
        caps, weights = tuple(caps), tuple(weights)
        headers: dict[bytes, Cap | str] = {cap.header.encode(): cap for cap in caps}
        headers |= {weight.header.encode(): weight.name for weight in weights}
        names = [cap.name for cap in caps]
        return cls(
            MappingProxyType(dict(zip(names, caps, strict=True))),
            tuple(weight.name for weight in weights),
            MappingProxyType(headers),
            frozenset((*names, *_OTHERS)),
        )


_FIELDS: Final = BudgetFields.of(CAPS, WEIGHTS)


def states_routing(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a header may state what `routing` could."""
    return _PREFIX in b"\n".join(headers)


def _number(field: str, value: object, *, maximum: float | None = None) -> float:
    """A finite, non-negative number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_budget(field, f"must be a number, got {_shown(value)}")
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise invalid_budget(field, f"must be a finite number of at least 0, got {_shown(value)}")
    if maximum is not None and number > maximum:
        raise invalid_budget(field, f"must be at most {maximum:g}, got {_shown(value)}")
    return number


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _cap(field: str, cap: Cap, value: object) -> float:
    number = _number(field, value, maximum=cap.most)
    if number == 0 and not cap.zero:
        raise invalid_budget(field, "no answer takes nothing; state a number above 0")
    return number


def _from_headers(headers: Mapping[bytes, bytes], table: BudgetFields) -> tuple[dict[str, float], dict[str, float]]:
    caps: dict[str, float] = {}
    weights: dict[str, float] = {}
    for header, raw in headers.items():
        states = table.headers.get(header) if header.startswith(_PREFIX) else None
        if states is None:
            continue
        field = header.decode()
        try:
            value = float(raw)
        except ValueError:
            raise invalid_budget(field, f"must be a number, got {_shown(raw.decode('latin-1'))}") from None
        if isinstance(states, str):
            weights[states] = _number(field, value)
        else:
            caps[states.name] = _cap(field, states, value)
    return caps, weights


def parse_budget(
    routing: object, headers: Mapping[bytes, bytes], default: Budget, table: BudgetFields = _FIELDS
) -> tuple[Budget, frozenset[str] | None]:
    """What the caller allows.

    Args:
        routing: The body's `routing` value, None when absent.
        headers: Request headers, lower-case names.
        default: The operator's budget, for what the caller does not state.
        table: The caps and weights there are.

    Returns:
        The budget, and the names in `routing.experts` (the caller's own narrowing of the pool; None for all).

    Raises:
        RequestRefused: A field is unknown or malformed; the error names it.
    """
    caps, weights = _from_headers(headers, table)
    local_only = default.local_only
    experts: frozenset[str] | None = None
    if routing is not None:
        if not isinstance(routing, dict):
            raise invalid_budget("routing", f"must be an object, got {_shown(routing)}")
        body_caps, body_weights, local_only, experts = _from_object(routing, local_only, table)
        caps |= body_caps
        weights |= body_weights
    if not caps and not weights and local_only == default.local_only:
        return default, experts
    merged: Weights = replace(default.weights, **weights) if weights else default.weights
    changes: dict[str, Any] = {**caps, "weights": merged, "local_only": local_only}
    return replace(default, **changes), experts


def parse_session(routing: object, headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's name for its conversation: `routing.session`, else the header `x-pointsman-session`.

    Raises:
        RequestRefused: It is no text of 1 to 256 characters.
    """
    field, stated = "routing.session", routing.get("session") if isinstance(routing, dict) else None
    if stated is None:
        raw = headers.get(_SESSION_HEADER)
        if raw is None:
            return None
        field, stated = _SESSION_HEADER.decode(), raw.decode("latin-1")
    if not isinstance(stated, str) or not 0 < len(stated) <= _MAX_SESSION_LENGTH:
        raise invalid_budget(field, f"must be a text of 1 to {_MAX_SESSION_LENGTH} characters")
    return stated


def _from_object(
    routing: Mapping[str, Any], local_only: bool, table: BudgetFields
) -> tuple[dict[str, float], dict[str, float], bool, frozenset[str] | None]:
    unknown = [name for name in routing if name not in table.known]
    if unknown:
        known = ", ".join(sorted(table.known))
        raise invalid_budget(f"routing.{unknown[0]}", f"unknown field; known are {known}")
    caps = {
        name: _cap(cap.path, cap, routing[name]) for name, cap in table.caps.items() if routing.get(name) is not None
    }
    weights: dict[str, float] = {}
    stated = routing.get("weights")
    if stated is not None:
        if not isinstance(stated, dict):
            raise invalid_budget("routing.weights", f"must be an object, got {_shown(stated)}")
        for name, value in stated.items():
            if name not in table.weights:
                known = ", ".join(table.weights)
                raise invalid_budget(f"routing.weights.{name}", f"unknown weight; known are {known}")
            weights[name] = _number(f"routing.weights.{name}", value)
    wanted = routing.get("local_only")
    if wanted is not None:
        if not isinstance(wanted, bool):
            raise invalid_budget("routing.local_only", f"must be true or false, got {_shown(wanted)}")
        # A caller cannot lift the operator's own restriction to local experts.
        local_only = local_only or wanted
    experts: frozenset[str] | None = None
    names = routing.get("experts")
    if names is not None:
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise invalid_budget("routing.experts", "must be a non-empty list of expert names")
        experts = frozenset(names)
    return caps, weights, local_only, experts
