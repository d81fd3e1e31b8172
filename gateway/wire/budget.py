"""Budgets on the wire: the body's `routing` object and the `x-pointsman-*` headers become a `Budget`.

A header states the same thing as the field of the same name; where both are given the body wins, because it is the
more deliberate of the two. Every error names the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from gateway.errors import invalid_budget
from routers.types import Budget, Weights

#: Field of `routing` -> the header that states the same.
_CAPS: Final[dict[str, bytes]] = {
    "max_ttft_ms": b"x-pointsman-max-ttft-ms",
    "max_latency_ms": b"x-pointsman-max-latency-ms",
    "max_energy_j": b"x-pointsman-max-energy-j",
    "max_cost_usd": b"x-pointsman-max-cost-usd",
    "min_quality": b"x-pointsman-min-quality",
}
_WEIGHTS: Final = tuple(weight.name for weight in fields(Weights))
_WEIGHT_HEADERS: Final[dict[str, bytes]] = {name: f"x-pointsman-weight-{name}".encode() for name in _WEIGHTS}
_HEADER_FIELDS: Final[dict[bytes, tuple[str, bool]]] = {
    **{header: (name, False) for name, header in _CAPS.items()},
    **{header: (name, True) for name, header in _WEIGHT_HEADERS.items()},
}
_PREFIX: Final = b"x-pointsman-"
_KNOWN: Final = frozenset(_CAPS) | {
    "weights",
    "local_only",
    "experts",
    "session",
    "cache",
    "evidence",
    "priority",
    "deadline_ms",
}
_SESSION_HEADER: Final = b"x-pointsman-session"
_MAX_SESSION_LENGTH: Final = 256


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


def _cap(field: str, name: str, value: object) -> float:
    number = _number(field, value, maximum=1.0 if name == "min_quality" else None)
    if name.startswith("max_") and name != "max_cost_usd" and number == 0:
        raise invalid_budget(field, "no answer takes nothing; state a number above 0")
    return number


def _from_headers(headers: Mapping[bytes, bytes]) -> tuple[dict[str, float], dict[str, float]]:
    caps: dict[str, float] = {}
    weights: dict[str, float] = {}
    for header, raw in headers.items():
        if not header.startswith(_PREFIX) or header not in _HEADER_FIELDS:
            continue
        name, is_weight = _HEADER_FIELDS[header]
        field = header.decode()
        try:
            value = float(raw)
        except ValueError:
            raise invalid_budget(field, f"must be a number, got {_shown(raw.decode('latin-1'))}") from None
        if is_weight:
            weights[name] = _number(field, value)
        else:
            caps[name] = _cap(field, name, value)
    return caps, weights


def parse_budget(
    routing: object, headers: Mapping[bytes, bytes], default: Budget
) -> tuple[Budget, frozenset[str] | None]:
    """What the caller allows.

    Args:
        routing: The body's `routing` value, None when absent.
        headers: Request headers, lower-case names.
        default: The operator's budget, for what the caller does not state.

    Returns:
        The budget, and the names in `routing.experts` (the caller's own narrowing of the pool; None for all).

    Raises:
        RequestRefused: A field is unknown or malformed; the error names it.
    """
    caps, weights = _from_headers(headers)
    local_only = default.local_only
    experts: frozenset[str] | None = None
    if routing is not None:
        if not isinstance(routing, dict):
            raise invalid_budget("routing", f"must be an object, got {_shown(routing)}")
        body_caps, body_weights, local_only, experts = _from_object(routing, local_only)
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
    routing: Mapping[str, Any], local_only: bool
) -> tuple[dict[str, float], dict[str, float], bool, frozenset[str] | None]:
    unknown = [name for name in routing if name not in _KNOWN]
    if unknown:
        known = ", ".join(sorted(_KNOWN))
        raise invalid_budget(f"routing.{unknown[0]}", f"unknown field; known are {known}")
    caps = {name: _cap(f"routing.{name}", name, routing[name]) for name in _CAPS if routing.get(name) is not None}
    weights: dict[str, float] = {}
    stated = routing.get("weights")
    if stated is not None:
        if not isinstance(stated, dict):
            raise invalid_budget("routing.weights", f"must be an object, got {_shown(stated)}")
        for name, value in stated.items():
            if name not in _WEIGHTS:
                raise invalid_budget(f"routing.weights.{name}", f"unknown weight; known are {', '.join(_WEIGHTS)}")
            weights[name] = _number(f"routing.weights.{name}", value)
    wanted = routing.get("local_only")
    if wanted is not None:
        if not isinstance(wanted, bool):
            raise invalid_budget("routing.local_only", f"must be true or false, got {_shown(wanted)}")
        # The operator's own wish to stay local cannot be lifted by a caller.
        local_only = local_only or wanted
    experts: frozenset[str] | None = None
    names = routing.get("experts")
    if names is not None:
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise invalid_budget("routing.experts", "must be a non-empty list of expert names")
        experts = frozenset(names)
    return caps, weights, local_only, experts
