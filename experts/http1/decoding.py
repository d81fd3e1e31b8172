"""The body of a response that was compressed although nobody asked for it, as what it was before."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from pointsman.experts.http1.failures import BodyBroken

#: What one piece that came may become: a bomb is given up, not blown up.
_MOST_AT_ONCE: Final = 16 * 1024 * 1024
_STEP_BYTES: Final = 256 * 1024
#: gzip's header, and zlib's where there is one.
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_READ: Final = frozenset({b"gzip", b"x-gzip", b"deflate"})


class BodyDecoder:
    """Decompresses a body piece by piece.

    Args:
        coding: The value of `content-encoding`.

    Raises:
        BodyBroken: It cannot be read here.
    """

    __slots__ = ("_begun", "_deflate", "_inflate")

    def __init__(self, coding: bytes) -> None:
        name = coding.strip().lower()
        if name not in _READ:
            said = name[:40].decode("ascii", "replace")
            raise BodyBroken(f"compressed as {said!r}, content-encoding that was not asked for and cannot be read")
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._deflate = name == b"deflate"
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that a piece becomes.

        Raises:
            BodyBroken: It is not what it says, or becomes too much.
        """
        made = 0
        while data:
            try:
                piece = self._inflate.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                if not self._deflate or self._begun:
                    raise BodyBroken(f"its compression is broken: {error}") from None
                # Some servers mean by "deflate" what has no header.
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                self._begun = True
                continue
            self._begun = True
            made += len(piece)
            if made > _MOST_AT_ONCE:
                raise BodyBroken(f"compressed: a piece becomes more than {_MOST_AT_ONCE} bytes")
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail
            if not data and self._inflate.eof and self._inflate.unused_data:
                # Several members, one after the other.
                data = self._inflate.unused_data
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)

    @property
    def complete(self) -> bool:
        """Whether the end of what was compressed has come, or nothing has begun."""
        return self._inflate.eof or not self._begun


def decoder_of(headers: list[tuple[bytes, bytes]]) -> BodyDecoder | None:
    """What decodes a body; None where it is as it was made.

    Raises:
        BodyBroken: It cannot be read here.
    """
    codings = [
        one.strip().lower() for name, value in headers if name == b"content-encoding" for one in value.split(b",")
    ]
    codings = [one for one in codings if one not in (b"", b"identity")]
    if not codings:
        return None
    if len(codings) > 1:
        raise BodyBroken("compressed more than once, by content-encoding that was not asked for")
    return BodyDecoder(codings[0])
