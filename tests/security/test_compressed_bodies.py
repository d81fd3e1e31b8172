"""A compressed body that says little and does not end: refused while it comes, with nothing of it kept."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.asgi import read_body
from pointsman.gateway.wire.large_bodies import BodyLimits

LIMIT = 1_000_000
PIECE = 64 * 1024


class Endless:
    """A body of a beginning and, as long as anybody asks, more."""

    def __init__(self, begin: bytes, more: bytes) -> None:
        self._pieces = [begin]
        self._more = more
        self.given = 0

    async def __call__(self) -> dict[str, Any]:
        piece = self._pieces.pop() if self._pieces else self._more
        self.given += len(piece)
        return {"type": "http.request", "body": piece, "more_body": True}


#: A block that inflates to nothing, as a flush makes it.
NOTHING = b"\x00\x00\x00\xff\xff"
BEGUN = zlib.compressobj()
OPENING = BEGUN.compress(b"{") + BEGUN.flush(zlib.Z_FULL_FLUSH)


@pytest.mark.parametrize(
    ("encoding", "begin", "more", "code"),
    [
        (b"gzip", gzip.compress(b"{}"), b"a" * PIECE, Code.INVALID_VALUE),
        (b"gzip", gzip.compress(b"{}"), gzip.compress(b"{}") * 1000, Code.INVALID_VALUE),
        (b"deflate", OPENING, NOTHING * 10_000, Code.BODY_TOO_LARGE),
        (b"gzip", gzip.compress(bytes(100 * LIMIT))[:-100], b"", Code.BODY_TOO_LARGE),
        (b"identity", b"{", b" " * PIECE, Code.BODY_TOO_LARGE),
    ],
    ids=["rubbish behind the end", "one behind the other", "blocks of nothing", "a bomb", "plain"],
)
async def test_a_body_without_end_is_refused(encoding: bytes, begin: bytes, more: bytes, code: Code) -> None:
    body = Endless(begin, more)
    with pytest.raises(RequestRefused) as refused:
        await read_body({b"content-encoding": encoding}, body, BodyLimits(LIMIT, LIMIT))
    assert refused.value.code is code
    assert body.given <= 2 * LIMIT
