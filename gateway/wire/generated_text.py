"""How much text a stream has generated, for calls that end without usage: an estimate from the bytes of the text."""

from __future__ import annotations

import math

from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.lenient_json import read_json
from pointsman.gateway.wire.token_estimate import BYTES_PER_TOKEN


def tokens_said(events: bytes) -> int:
    """Tokens of whole server-sent events, estimated; at least one for every event that says something."""
    tokens = 0
    for line in events.splitlines():
        if line.startswith(b"data:") and b"{" in line:
            if len(line) > LARGE_BYTES:
                # It is not made into objects: all of it counts.
                tokens += math.ceil(len(line) / BYTES_PER_TOKEN)
                continue
            try:
                event = read_json(line[5:])
            except ValueError:
                continue
            if isinstance(event, dict):
                # OpenAI's chunks have choices, events of other APIs a delta.
                tokens += math.ceil(_text_bytes(event.get("choices") or event.get("delta")) / BYTES_PER_TOKEN)
    return tokens


def _text_bytes(said: object) -> int:
    """Bytes of all strings in it, however deeply it is nested; but for names of roles and reasons to end."""
    total, left = 0, [said]
    while left:
        one = left.pop()
        if isinstance(one, str):
            # Half a surrogate pair, which JSON may hold, is no UTF-8.
            total += len(one.encode("utf-8", "surrogatepass"))
        elif isinstance(one, dict):
            left += [value for name, value in one.items() if name not in ("role", "finish_reason", "type")]
        elif isinstance(one, list):
            left += one
    return total
