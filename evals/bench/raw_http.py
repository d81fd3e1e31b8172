"""HTTP/1.1 on plain sockets: a client that costs the load's core less than any library would."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class UnexpectedAnswer(RuntimeError):
    """A server answered with something other than a 200, or closed its connection."""


def connect(url: str) -> socket.socket:
    """A connection that does not block and sends at once."""
    split = urlsplit(url)
    one = socket.create_connection((split.hostname or "", split.port or 80), timeout=10)
    one.setblocking(False)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def request(url: str, body: str) -> bytes:
    """A POST with everything that goes over the wire."""
    payload = body.encode()
    lines = [
        f"POST {PATH} HTTP/1.1", f"host: {urlsplit(url).netloc}", "content-type: application/json",
        f"content-length: {len(payload)}",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


def check(received: bytes) -> None:
    """Look at the first line.

    Raises:
        UnexpectedAnswer: It is no 200.
    """
    found = _STATUS.match(received)
    if found is None or found[1] != b"200":
        raise UnexpectedAnswer(repr(received[:200]))


def whole(received: bytes) -> bool:
    """Whether an answer of announced length is there to its end.

    Raises:
        UnexpectedAnswer: Its length is not announced.
    """
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head + b"\r\n")
    if length is None:
        raise UnexpectedAnswer(f"no content-length: {head!r}")
    return len(body) >= int(length[1])
