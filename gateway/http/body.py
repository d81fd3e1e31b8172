"""A request's body: read within its limits, and decompressed if it is compressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.inflation import EncodedBody, InflationError, encodings, inflating_of
from pointsman.gateway.wire.json_values import ValueCount
from pointsman.gateway.wire.large_bodies import BodyLimits

#: Text of any kind comes to a twentieth at the least; what comes to less than this is made to.
_MOST_INFLATED: Final = 100
#: How much a body may inflate to, however little came.
_ALWAYS_BYTES: Final = 1024 * 1024
#: Of a body that inflates, or is counted, at once.
_SLICE_BYTES: Final = 64 * 1024


class Body:
    """A body that is coming.

    Args:
        headers: Of the request, lower-case names.
        limits: What it may be.

    Raises:
        RequestRefused: It says that it is larger, or is in an encoding we do not read.
    """

    __slots__ = ("_came", "_first", "_inflating", "_limits", "_rest", "_size", "_values")

    def __init__(self, headers: Mapping[bytes, bytes], limits: BodyLimits) -> None:
        self._limits = limits
        self._first = b""
        # In one piece however many come: a list of small ones would take many times their bytes.
        self._rest = bytearray()
        self._size = self._came = 0
        self._values: ValueCount | None = None
        self._inflating = None if b"content-encoding" not in headers else _inflating(headers[b"content-encoding"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limits.most_bytes:
            raise self._too_large()

    def feed(self, piece: bytes) -> None:
        """A piece came.

        Raises:
            RequestRefused: The body is larger than the limits, or not what its encoding says.
        """
        self._came += len(piece)
        if self._came > self._limits.most_bytes:
            raise self._too_large()
        if self._inflating is None:
            self._take(piece)
        else:
            self._inflate(self._inflating, piece)

    def whole(self) -> bytes:
        """All pieces are here.

        Raises:
            RequestRefused: What is compressed ends before its end.
        """
        if self._inflating is not None and not self._inflating.eof:
            raise _not_compressed()
        return b"".join((self._first, self._rest)) if self._rest else self._first

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.most_bytes:
            raise self._too_large()
        if not self._first:
            self._first = piece
        else:
            self._rest += piece
        # Fewer bytes cannot hold more values.
        if self._size > self._limits.most_values:
            self._count(piece)

    def _count(self, piece: bytes) -> None:
        """Count values before anything is made of them."""
        if self._values is None:
            self._values = ValueCount()
            piece = b"".join((self._first, self._rest))
        for start in range(0, len(piece), _SLICE_BYTES):
            self._values.feed(piece[start : start + _SLICE_BYTES])
            if self._values.found > self._limits.most_values:
                raise RequestRefused(
                    Code.BODY_TOO_LARGE,
                    f"The body holds more than {self._limits.most_values} values: objects, lists, texts and numbers.",
                )

    def _inflate(self, inflating: EncodedBody, piece: bytes) -> None:
        """A piece inflated, in slices: a bomb is noticed before it goes off."""
        most_bytes = max(_ALWAYS_BYTES, _MOST_INFLATED * self._came)
        pieces = inflating.slices(piece, _SLICE_BYTES)
        while True:
            try:
                inflated = next(pieces, None)
            except InflationError:
                raise _not_compressed() from None
            if inflated is None:
                return
            if inflated:
                self._take(inflated)
            if self._size > most_bytes:
                raise RequestRefused(
                    Code.BODY_TOO_LARGE,
                    f"The body inflates to more than {_MOST_INFLATED} times what came.",
                    param="content-encoding",
                )

    def _too_large(self) -> RequestRefused:
        return RequestRefused(Code.BODY_TOO_LARGE, f"The body is larger than {self._limits.most_bytes} bytes.")


def _inflating(stated: bytes) -> EncodedBody | None:
    encoding = stated.strip().lower()
    if encoding in (b"", b"identity"):
        return None
    found = inflating_of(encoding)
    if found is None:
        raise RequestRefused(
            Code.UNSUPPORTED_ENCODING,
            f"Content-Encoding '{encoding.decode('latin-1')[:80]}' is not supported; supported are: "
            f"{', '.join(encodings())}.",
            notes=((b"accept-encoding", ", ".join(encodings()).encode()),),
        )
    return found


def _not_compressed() -> RequestRefused:
    return RequestRefused(
        Code.INVALID_VALUE, "The body is not what its Content-Encoding says.", param="content-encoding"
    )
