"""The content encodings of request bodies. What a library does at once is cut into slices, so that a bomb is noticed.

gzip and deflate are Python's own. Brotli and Zstandard need the extra `encodings`; without it they are not offered.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final, Protocol


class InflationError(Exception):
    """A body is not what its encoding says."""


class EncodedBody(Protocol):
    """One body that inflates."""

    @property
    def eof(self) -> bool:
        """Whether it came to its end."""

    def slices(self, piece: bytes, most_bytes: int) -> Iterator[bytes]:
        """What a piece of it inflates to, each slice of about as many bytes at the most.

        Raises:
            InflationError: It is something else, or does not end with its end.
        """


def encodings() -> tuple[str, ...]:
    """What can be read, by the names of HTTP."""
    return tuple(name.decode() for name in _readers())


def inflating_of(encoding: bytes) -> EncodedBody | None:
    """What reads a body of an encoding, in lower case; None where nothing here does."""
    make = _readers().get(_OLD_NAMES.get(encoding, encoding))
    return None if make is None else make()


class _Zlib:
    """gzip and deflate."""

    def __init__(self, window_bits: int) -> None:
        self._inflating = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._inflating.eof

    def slices(self, piece: bytes, most_bytes: int) -> Iterator[bytes]:
        inflating, left = self._inflating, piece
        while True:
            try:
                inflated = inflating.decompress(left, most_bytes)
            except zlib.error:
                raise InflationError from None
            if inflating.unused_data:
                # It would be kept for as long as more of it comes.
                raise InflationError
            yield inflated
            left = inflating.unconsumed_tail
            if not left and len(inflated) < most_bytes:
                return


class _Brotli:
    """Brotli."""

    def __init__(self) -> None:
        import brotli

        self._inflating: Any = brotli.Decompressor()
        self._error: type[Exception] = brotli.error

    @property
    def eof(self) -> bool:
        return bool(self._inflating.is_finished())

    def slices(self, piece: bytes, most_bytes: int) -> Iterator[bytes]:
        inflating, left = self._inflating, piece
        if self.eof and piece:
            raise InflationError
        while True:
            try:
                inflated = inflating.process(left, output_buffer_limit=most_bytes)
            except self._error:
                raise InflationError from None
            yield inflated
            left = b""
            if inflating.can_accept_more_data() or self.eof:
                return


class _Zstandard:
    """Zstandard, one frame of it."""

    #: The library has no limit of its own for what a piece may come to, so that it gets small ones: each block of them
    #: comes to 128 KiB at the most.
    _SMALL: Final = 256

    def __init__(self) -> None:
        import zstandard

        self._inflating: Any = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
        self._error: type[Exception] = zstandard.ZstdError

    @property
    def eof(self) -> bool:
        return bool(self._inflating.eof)

    def slices(self, piece: bytes, most_bytes: int) -> Iterator[bytes]:
        inflating = self._inflating
        for start in range(0, len(piece), self._SMALL):
            if self.eof:
                raise InflationError
            try:
                yield inflating.decompress(piece[start : start + self._SMALL])
            except self._error:
                raise InflationError from None
            if inflating.unused_data:
                raise InflationError


_OLD_NAMES: Final[Mapping[bytes, bytes]] = MappingProxyType({b"x-gzip": b"gzip"})


@cache
def _readers() -> Mapping[bytes, Callable[[], EncodedBody]]:
    """Encoding -> what makes its reader, for those whose library is installed."""
    found: dict[bytes, Callable[[], EncodedBody]] = {
        b"gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
        b"deflate": lambda: _Zlib(zlib.MAX_WBITS),
    }
    if find_spec("brotli") is not None:
        found[b"br"] = _Brotli
    if find_spec("zstandard") is not None:
        found[b"zstd"] = _Zstandard
    return MappingProxyType(found)
