"""Keeps the test process on this machine: only loopback and unix sockets open.

An audit hook, because it sees what `socket` does for everybody (asyncio, http.client, redis-py) and patches nothing.
It cannot be removed, so a flag opens and closes it. Loops that bypass Python's sockets (uvloop) are not seen.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NetworkBlockedError(RuntimeError):
    """A test tried to leave the machine. Not an OSError, so that no error handling takes it for a dead server."""


class _Guard:
    active = False
    installed = False


def is_local(host: object) -> bool:
    """Whether a host name or address stays on this machine."""
    if host is None or host == "":
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _Guard.active:
        return
    if event in ("socket.connect", "socket.sendto"):
        sock, address = args[0], args[1]
        # A connected datagram socket sends without an address; its connect was asked.
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address is not None and not is_local(address[0]):
            raise NetworkBlockedError(f"a test must not connect to {address[0]}")
    elif event == "socket.getaddrinfo" and not is_local(args[0]):
        raise NetworkBlockedError(f"a test must not look up {args[0]!r}")


@contextmanager
def closed() -> Iterator[None]:
    """Close the network for the duration."""
    if not _Guard.installed:
        sys.addaudithook(_audit)
        _Guard.installed = True
    before, _Guard.active = _Guard.active, True
    try:
        yield
    finally:
        _Guard.active = before
