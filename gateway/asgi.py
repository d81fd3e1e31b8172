"""The few ASGI shapes the data plane works with, and reading a body within its limit."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from gateway.errors import Code, RequestRefused
from gateway.wire.refusal_shape import refusal_body

#: Content-Encoding -> what zlib calls it.
_WINDOW_BITS: Final[Mapping[bytes, int]] = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed the connection."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The request body, inflated where it came compressed.

    Raises:
        RequestRefused: Larger than `limit` bytes, as it came or inflated, or in an encoding we do not read.
        ClientLeft: The client left before the end of the body.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    inflating = None
    if encoding != b"identity":
        if encoding not in _WINDOW_BITS:
            known = ", ".join(name.decode() for name in _WINDOW_BITS)
            raise RequestRefused(
                Code.UNSUPPORTED_ENCODING,
                f"Content-Encoding '{encoding.decode('latin-1')[:80]}' is not supported; supported are: {known}.",
            )
        inflating = zlib.decompressobj(_WINDOW_BITS[encoding])
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = came = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece: bytes = message.get("body", b"")
        came += len(piece)
        if inflating is not None:
            piece = _inflated(inflating, piece, limit - size)
            if inflating.unused_data:
                # It would be kept for as long as more of it comes.
                raise _not_compressed()
        size += len(piece)
        if max(size, came) > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            break
    if inflating is not None and not inflating.eof:
        raise _not_compressed()
    return b"".join(pieces)


def _inflated(inflating: zlib._Decompress, piece: bytes, left: int) -> bytes:
    """A piece inflated, one byte further than is allowed at most: a bomb is noticed before it goes off."""
    try:
        return inflating.decompress(piece, left + 1)
    except zlib.error:
        raise _not_compressed() from None


def _not_compressed() -> RequestRefused:
    return RequestRefused(
        Code.INVALID_VALUE, "The body is not what its Content-Encoding says.", param="content-encoding"
    )


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(Code.BODY_TOO_LARGE, f"The body is larger than {limit} bytes.")


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """One response in one piece."""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_refusal(send: Send, refusal: RequestRefused, path: str) -> None:
    """An error instead of an answer, in the shape that callers of a path expect."""
    await send_whole(send, refusal.status, refusal.headers(), refusal_body(refusal, path))


class DisconnectWatch:
    """Cancels the current task when the client leaves, and tells that apart from any other cancellation.

    Use it around work that must not outlive the client::

        async with DisconnectWatch(receive) as watch:
            ...
        if watch.client_left: ...
    """

    __slots__ = ("_receive", "_watcher", "client_left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.client_left = False

    async def __aenter__(self) -> DisconnectWatch:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # we run inside a coroutine
        self._watcher = asyncio.create_task(self._watch(task))
        return self

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        task.cancel()

    def release(self) -> None:
        """Stop watching: the answer is about to be complete, and a server reports its end as a disconnect too."""
        self._watcher.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        self._watcher.cancel()
        if not self.client_left:
            return False
        task = asyncio.current_task()
        # The cancellation was ours unless somebody else cancels too, as a shutdown does.
        return task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError
