"""What can go wrong on the way to an HTTP server and back.

HttpFailure
├── NotConnected          no connection came about: nothing was sent
│   ├── ConnectTimedOut   name lookup, TCP or TLS took too long
│   ├── QueueTimedOut     all connections stayed busy, or too many calls were already waiting
│   └── ClientClosed      the client was closed before or meanwhile
├── ConnectionLost        the connection died before the head of the response was complete
├── BadResponse           what came is not HTTP, or its head is larger than allowed
├── HeadTimedOut          no head within the time allowed
├── IdleTimedOut          the head came, then no byte within the time allowed
└── BodyBroken            the head came, then the body ended before its end, or is not valid HTTP
"""

from __future__ import annotations


class HttpFailure(Exception):
    """Anything below."""


class NotConnected(HttpFailure):
    """No connection came about; the request was not sent."""


class ConnectTimedOut(NotConnected):
    """Connecting took longer than allowed."""


class QueueTimedOut(NotConnected):
    """No connection became free in time."""


class ClientClosed(NotConnected):
    """The client was closed."""


class ConnectionLost(HttpFailure):
    """The connection died before the head was complete.

    Attributes:
        received: Whether any byte of a response had come.
    """

    def __init__(self, message: str, *, received: bool) -> None:
        super().__init__(message)
        self.received = received


class BadResponse(HttpFailure):
    """The peer does not speak HTTP/1.1, or its head exceeds the limit."""


class HeadTimedOut(HttpFailure):
    """The head of the response did not come in time."""


class IdleTimedOut(HttpFailure):
    """The body stalled."""


class BodyBroken(HttpFailure):
    """The body ended before its end."""
