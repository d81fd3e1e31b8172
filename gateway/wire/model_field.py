"""The `model` field in the bytes of a JSON document, found without parsing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

#: `"model": "…"`; the group is the quoted value. Inside a JSON string it cannot match: quotes are escaped there.
#: Nothing is tried twice: a name without end would take many times its size in memory.
MODEL_FIELD: Final = re.compile(rb'"model"\s*+:\s*+("(?:[^"\\]++|\\.)*+")')

_NAME: Final = b'"model"'


def body_naming(body: bytes, payload: Mapping[str, Any], model: str, *, rewritten: bool) -> bytes:
    """A request's body with `model` naming a model: its own bytes where they can stay.

    The bytes are spliced rather than written again wherever that is provably the same: `"model"` as a whole JSON
    string occurs exactly once, and nothing is spelt with escaped letters, so that it can only be the top-level key.
    A body with two such keys would name one model to us and another to a server that reads the first.

    Args:
        body: The client's bytes.
        payload: The same, parsed.
        model: The name to go in.
        rewritten: Whether the payload no longer equals the body.
    """
    at = -1 if rewritten else body.find(_NAME)
    if at >= 0 and body.find(_NAME, at + 1) < 0 and b"\\u006" not in body:
        if payload["model"] == model:
            return body
        field = MODEL_FIELD.match(body, at)
        if field is not None:
            return b'%b"model":%b%b' % (body[:at], orjson.dumps(model), body[field.end() :])
    return orjson.dumps({**payload, "model": model})
