"""Whether a body says something twice: `{"n": 1, "n": 40}` is 40 to most servers, and 1 to some.

What passes on as it came is read the same by everybody; such a body is written anew from what was read of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def repeats_a_field(body: bytes, payload: Mapping[str, Any], strings: int | None = None) -> bool:
    """Whether an object in a body has two fields of one name: servers differ in which of them they read.

    Strings tell: a body has as many of them as what was read from it, unless a field, and its name, got lost.

    Args:
        body: The client's bytes.
        payload: The same, parsed.
        strings: How many strings that has, names of fields included; None where nobody counted.
    """
    marks = _quotation_marks(orjson.dumps(payload)) if strings is None else 2 * strings
    found = body.count(b'"')
    if found == marks:
        # Marks within strings would only add to those around them.
        return False
    if strings is not None and found == marks + _marks_said(payload) and b"u0022" not in body:
        return False
    return _quotation_marks(body) != marks


def _quotation_marks(document: bytes) -> int:
    """The quotation marks in a JSON document that begin or end a string."""
    marks = document.count(b'"')
    if b"\\" in document:
        marks -= document.replace(b"\\\\", b"").count(b'\\"')
    return marks


def _marks_said(payload: Mapping[str, Any]) -> int:
    """The quotation marks within the texts of plain messages."""
    count = 0
    for message in payload.get("messages", ()):
        content = message["content"]
        for text in (content,) if isinstance(content, str) else (part["text"] for part in content):
            count += text.count('"')
    return count
