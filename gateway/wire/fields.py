"""Reads the fields of a request during translation. Errors name a field as the client wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.gateway.errors import Code, RequestRefused


def missing(param: str) -> RequestRefused:
    """A field that must be there is not."""
    return RequestRefused(Code.MISSING_FIELD, f"{param}: missing.", param=param)


def invalid(param: str, must: str) -> RequestRefused:
    """A field does not say what it can."""
    return RequestRefused(Code.INVALID_VALUE, f"{param}: must be {must}.", param=param)


def objects(value: object, where: str) -> list[dict[str, Any]]:
    """A list of objects.

    Raises:
        RequestRefused: It is none.
    """
    if not isinstance(value, list):
        raise invalid(where, "a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid(f"{where}[{index}]", "an object")
    return value


def text_at(mapping: Mapping[str, Any], name: str, where: str) -> str:
    """A string that must be there.

    Raises:
        RequestRefused: It is not.
    """
    value = mapping.get(name)
    if not isinstance(value, str):
        raise invalid(_at(where, name), "a string")
    return value


def object_at(mapping: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """An object that must be there.

    Raises:
        RequestRefused: It is not.
    """
    value = mapping.get(name)
    if not isinstance(value, dict):
        raise invalid(_at(where, name), "an object")
    return value


def at_least_one(value: object, param: str) -> int:
    """A whole number of at least 1.

    Raises:
        RequestRefused: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(param, "a whole number of at least 1")
    return value


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
