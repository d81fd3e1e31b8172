"""A request's body: read within its size limit, and decompressed if it is compressed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from pointsman.gateway.errors import Code, RequestRefused

#: Content-Encoding -> what zlib calls it.
_WINDOW_BITS: Final[Mapping[bytes, int]] = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class Body:
    """A body that is coming.

    Args:
        headers: Of the request, lower-case names.
        limit: Most bytes, as they come and inflated.

    Raises:
        RequestRefused: It says that it is larger, or is in an encoding we do not read.
    """

    __slots__ = ("_came", "_inflating", "_limit", "_pieces", "_size")

    def __init__(self, headers: Mapping[bytes, bytes], limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = self._came = 0
        self._inflating = None if b"content-encoding" not in headers else _inflating(headers[b"content-encoding"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise self._too_large()

    def feed(self, piece: bytes) -> None:
        """A piece came.

        Raises:
            RequestRefused: The body is larger than the limit, or not what its encoding says.
        """
        self._came += len(piece)
        if self._inflating is not None:
            piece = self._inflate(self._inflating, piece)
        self._size += len(piece)
        if self._size > self._limit or self._came > self._limit:
            raise self._too_large()
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """All pieces are here.

        Raises:
            RequestRefused: What is compressed ends before its end.
        """
        if self._inflating is not None and not self._inflating.eof:
            raise _not_compressed()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _inflate(self, inflating: zlib._Decompress, piece: bytes) -> bytes:
        """A piece inflated, one byte further than is allowed at most: a bomb is noticed before it goes off."""
        try:
            piece = inflating.decompress(piece, self._limit - self._size + 1)
        except zlib.error:
            raise _not_compressed() from None
        if inflating.unused_data:
            # It would be kept for as long as more of it comes.
            raise _not_compressed()
        return piece

    def _too_large(self) -> RequestRefused:
        return RequestRefused(Code.BODY_TOO_LARGE, f"The body is larger than {self._limit} bytes.")


def _inflating(stated: bytes) -> zlib._Decompress | None:
    encoding = stated.strip().lower()
    if encoding == b"identity":
        return None
    if encoding not in _WINDOW_BITS:
        known = ", ".join(name.decode() for name in _WINDOW_BITS)
        raise RequestRefused(
            Code.UNSUPPORTED_ENCODING,
            f"Content-Encoding '{encoding.decode('latin-1')[:80]}' is not supported; supported are: {known}.",
        )
    return zlib.decompressobj(_WINDOW_BITS[encoding])


def _not_compressed() -> RequestRefused:
    return RequestRefused(
        Code.INVALID_VALUE, "The body is not what its Content-Encoding says.", param="content-encoding"
    )
