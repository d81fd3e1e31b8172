"""Reads an expert's reply to its end before any of it goes to the client."""

from __future__ import annotations

from typing import Protocol

from pointsman.experts.errors import ExpertProtocolError, ExpertStreamBroken, ExpertUnavailable
from pointsman.experts.protocols import ExpertReply, Headers
from pointsman.gateway.wire.refusal_shape import JSON_TYPE
from pointsman.gateway.wire.request import Inbound


class ReplyHead(Protocol):
    """The head of a reply."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Headers:
        """Response headers, lower-case names, hop-by-hop headers already dropped."""


def too_large(name: str, most_bytes: int) -> ExpertProtocolError:
    """An answer is larger than it may be."""
    return ExpertProtocolError(name, f"answer of more than {most_bytes} bytes")


async def read_whole(name: str, reply: ExpertReply, most_bytes: int) -> bytes:
    """The whole body: an answer that is not streamed is passed on complete or not at all.

    Args:
        name: The expert's.
        reply: Its reply.
        most_bytes: As much of it as is read.

    Raises:
        ExpertError: It broke off, or is too large.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in reply:
            size += len(piece)
            if size > most_bytes:
                raise too_large(name, most_bytes)
            pieces.append(piece)
    except ExpertStreamBroken as error:
        # Nothing has gone to the client yet, so another expert may still be tried.
        raise ExpertUnavailable(name, error.message) from error
    finally:
        await reply.aclose()
    return b"".join(pieces)


def is_stream(inbound: Inbound, reply: ReplyHead) -> bool:
    """A streamed answer is one that was asked for and did come as events; errors come whole."""
    return inbound.stream and reply.status < 300 and _kind(reply.headers).startswith(b"text/event-stream")


def may_be_answer(headers: Headers, body: bytes | bytearray) -> bool:
    """Whether what came in one piece may be an answer: JSON, where it says so or says nothing, to its end."""
    begins = body[:64].lstrip()[:1]
    if begins in (b"{", b"["):
        return body[-64:].rstrip()[-1:] == (b"}" if begins == b"{" else b"]")
    kind = _kind(headers)
    return bool(begins) and bool(kind) and b"json" not in kind and not kind.startswith((b"text/html", b"text/plain"))


def with_json_type(headers: Headers) -> Headers:
    """The headers of a reply whose body was written anew, as JSON."""
    return (*[pair for pair in headers if pair[0] != b"content-type"], JSON_TYPE)


def _kind(headers: Headers) -> bytes:
    """The media type, in lower case; empty where none is stated."""
    return next((value.strip().lower() for name, value in headers if name == b"content-type"), b"")
