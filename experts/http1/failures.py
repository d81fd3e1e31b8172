"""What can go wrong on the way to an HTTP server and back.

HttpFailure
├── ConnectError            there is no connection: nothing was sent
│   ├── ConnectTimeout      name lookup, TCP or TLS took too long
│   ├── PoolTimeout         all connections stayed busy, too many calls were waiting, or this process has no more
│   └── ClientClosedError   the client was closed before or meanwhile
├── ConnectionLostError     the connection died before the head of the response was complete
├── BadResponse             what came is not HTTP, or its head is larger than allowed
├── HeadTimeout             no head within the time allowed
├── IdleTimeout             the head came, then no byte within the time allowed
└── BodyBroken              the head came, then the body ended before its end, or is not valid HTTP
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final


class HttpFailure(Exception):
    """Anything below."""


class ConnectError(HttpFailure):
    """No connection came about; the request was not sent."""


class ConnectTimeout(ConnectError):
    """Connecting took longer than allowed."""


class PoolTimeout(ConnectError):
    """No connection became free in time."""


class ClientClosedError(ConnectError):
    """The client was closed."""


class ConnectionLostError(HttpFailure):
    """The connection died before the head was complete.

    Attributes:
        received: Whether any byte of a response had come.
    """

    def __init__(self, message: str, *, received: bool) -> None:
        super().__init__(message)
        self.received = received


class BadResponse(HttpFailure):
    """The peer does not speak HTTP/1.1, or its head exceeds the limit."""


class HeadTimeout(HttpFailure):
    """The head of the response did not come in time."""


class IdleTimeout(HttpFailure):
    """The body stalled."""


class BodyBroken(HttpFailure):
    """The body ended before its end."""


#: What this process ran out of, which says nothing of the peer: open files, ports, memory for sockets.
OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})


def why_not(error: OSError) -> str:
    """Why no connection came about, without the address: whoever may know it finds it in the settings."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if error.errno is None:
        return "no connection to any of its addresses"
    return os.strerror(error.errno)
