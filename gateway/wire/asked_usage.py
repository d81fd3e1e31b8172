"""Asking for the token counts of a stream on behalf of a caller who did not ask, and keeping them from that caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.gateway.wire.server_events import BOUNDARY

_FIELD: Final = "stream_options"
_ADDED: Final = b'"stream_options":{"include_usage":true},'
#: Many servers say `"usage":null` in every event but the last.
USAGE_FIELD: Final = re.compile(rb'"usage"\s*:\s*\{')


def may_ask(payload: Mapping[str, Any]) -> bool:
    """Whether a request for a stream can be made to ask for usage: it does not do so, and says nothing unreadable."""
    options = payload.get(_FIELD)
    return options is None or (isinstance(options, dict) and not options.get("include_usage"))


def asking(body: bytes, payload: Mapping[str, Any], model: str) -> tuple[bytes, dict[str, Any]]:
    """The request with `stream_options.include_usage`; everything else as it was, byte for byte where that can be.

    Args:
        body: As the expert gets it.
        payload: The same, parsed, but for `model`.
        model: As the expert knows it.
    """
    options = payload.get(_FIELD)
    asked = {**payload, _FIELD: {**(options or {}), "include_usage": True}}
    if _FIELD in payload:
        return orjson.dumps({**asked, "model": model}), asked
    begin = body.index(b"{") + 1
    return b"%b%b%b" % (body[:begin], _ADDED, body[begin:]), asked


def without_usage_events(data: bytes) -> bytes:
    """Whole server-sent events without those that hold usage and nothing else."""
    if USAGE_FIELD.search(data) is None:
        return data
    pieces = BOUNDARY.split(data)
    # An event and the boundary behind it; there is none behind a last event that ends with the stream.
    pairs = [(pieces[index], b"".join(pieces[index + 1 : index + 2])) for index in range(0, len(pieces), 2)]
    return b"".join([event + boundary for event, boundary in pairs if not _is_usage_alone(event)])


def _is_usage_alone(event: bytes) -> bool:
    if USAGE_FIELD.search(event) is None:
        return False
    said = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
    try:
        document = orjson.loads(b"\n".join(said))
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and isinstance(document.get("usage"), dict) and document.get("choices") == []
