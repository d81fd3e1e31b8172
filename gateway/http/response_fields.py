"""What every response says in its head, whoever answers it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

from pointsman.gateway.wire.cors import CrossOrigin

#: By OpenAI's SDKs, and by Anthropic's.
_IDS: Final = (b"x-request-id", b"request-id")
_DECISION: Final = b"x-pointsman-decision"
#: What a client may call its request, and read again in its answer.
_SANE: Final = re.compile(rb"[!-~]{1,200}")


def complete_head(headers: list[tuple[bytes, bytes]], asked: Mapping[bytes, bytes], cors: CrossOrigin | None) -> None:
    """Add the id of the request, by the names that SDKs read, and what browsers ask for.

    The id is the expert's where it gave one, else the client's own, else that of the decision.

    Args:
        headers: Of the response; more are added.
        asked: Of the request, lower-case names.
        cors: What pages of other origins may do; None for nothing.
    """
    found: dict[bytes, bytes] = {}
    decision = None
    for name, value in headers:
        if name in _IDS:
            found[name] = value
        elif name == _DECISION:
            decision = value
    if len(found) < len(_IDS):
        stated = asked.get(b"x-request-id", b"")
        own = stated if _SANE.fullmatch(stated) else decision or b"req_%b" % secrets.token_hex(16).encode()
        known = next(iter(found.values()), own)
        headers.extend([(name, known) for name in _IDS if name not in found])
    if cors is not None and b"origin" in asked:
        headers.extend(cors.headers(asked[b"origin"]))
