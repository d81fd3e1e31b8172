"""A salt for vLLM's prefix cache, so that no tenant learns from the speed of an answer what another one asked before.

vLLM shares cached prefixes among requests of the same `cache_salt` (its documentation, "Automatic prefix caching",
"Cache isolation for security"). A client's own salt is mixed with its tenant's, so that it can part what is its own,
and never take another's.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import orjson

from pointsman.experts.protocols import Endpoint

#: Where vLLM reads it.
SALTED: Final = frozenset({Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES})
_FIELD: Final = "cache_salt"
#: A letter that is written by its number, so that the field may be there unseen.
_ESCAPED: Final = re.compile(rb"\\u00[4-7]")
_BLANKS: Final = b" \t\r\n"


def salted(body: bytes, tenant: str) -> bytes:
    """A request's body with the salt of its tenant.

    Args:
        body: A JSON object with at least one field.
        tenant: Whose request it is.
    """
    if _FIELD.encode() in body or (b"\\u" in body and _ESCAPED.search(body) is not None):
        payload = orjson.loads(body)
        stated = payload.pop(_FIELD, None)
        payload[_FIELD] = _salt(tenant, b"" if stated is None else orjson.dumps(stated))
        return orjson.dumps(payload)
    return b'{"cache_salt":"%b",%b' % (_salt(tenant, b"").encode(), body.lstrip(_BLANKS)[1:])


def _salt(tenant: str, stated: bytes) -> str:
    digest = hashlib.blake2b(digest_size=20, person=b"pointsman-salt")
    named = tenant.encode()
    # The tenant's length goes first, so that no tenant and salt read like another tenant's.
    digest.update(len(named).to_bytes(8, "little") + named + stated)
    return digest.hexdigest()
