"""uvicorn's HTTP/1.1 protocol with a fast lane.

A request that the lane may take gets neither a scope nor a task: its body is collected, the lane answers with writes to
the transport. Every other request, and one that the lane hands over, becomes the ASGI request that uvicorn would have
made of it. Parsing, keep-alive, pipelining, time-outs and shutdown stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import struct
import termios
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from experts.protocols import Endpoint
from gateway.dataplane import DEPARTURE
from gateway.errors import RequestRefused
from gateway.fast_lane import ENDPOINTS
from gateway.pipeline import Departure
from gateway.relay import Relay
from gateway.serving import APP, Serving
from gateway.wire.refusal_shape import refusal_body

if TYPE_CHECKING:
    from gateway.app import App

_log = logging.getLogger(__name__)


#: To a request whose body does not come to its end.
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
#: To one whose head, or whose framing without a byte of body, does not come to its end.
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
#: How much of either is read, beyond the read in which it began.
MAX_HEAD_BYTES: Final = 64 * 1024


class FastLaneProtocol(HttpToolsProtocol):
    """One connection of a client.

    Args:
        serving: Knows what answers; further arguments are uvicorn's.
    """

    def __init__(self, *args: Any, serving: Serving, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._serving = serving
        # How long a request may take to arrive, from its first byte (or from the connection) to its last.
        self._patience_s = serving.settings.server.request_timeout_s
        self._arriving_since_s: float | None = None
        self._impatience: asyncio.TimerHandle | None = None
        self._unproductive = 0  # bytes since the request began, or since the last byte of its body
        self._in_head = False
        self._exchange: _Exchange | None = None  # under way, in the lane
        self._collecting: _Exchange | None = None  # its body is coming
        # What is under way, ours or uvicorn's; uvicorn asks it how far it is.
        self.cycle: Any = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The scope is made when it is needed."""
        self._arriving_since_s = self.loop.time()
        self._unproductive = 0
        self._in_head = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the head; trailers, which come behind the body, are none (RFC 9110, section 6.5.1)."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Choose the lane, or the long way."""
        self._in_head = False
        endpoint = ENDPOINTS.get(self.url)
        parser = self.parser
        if (
            endpoint is None
            or self.expect_100_continue
            or not (self.cycle is None or self.cycle.response_complete)
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
        ):
            self._begin_asgi()
            return
        keep_alive = parser.should_keep_alive() and not self._serving.draining
        exchange = _Exchange(self, self._serving, endpoint, self.url, self.headers, keep_alive)
        self._collecting = self._exchange = exchange
        self.cycle = exchange

    def on_body(self, body: bytes) -> None:
        """Collect what is the lane's."""
        self._unproductive = 0
        exchange = self._collecting
        if exchange is None:
            super().on_body(body)
        elif exchange.collect(body) > self._serving.current.lane.max_body_bytes:
            self._collecting = None
            exchange.hand_over_unfinished()

    def on_message_complete(self) -> None:
        """The lane's request is complete."""
        self._arriving_since_s = None
        exchange, self._collecting = self._collecting, None
        if exchange is None:
            super().on_message_complete()
        else:
            exchange.start()

    # What the transport and the server call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._arriving_since_s = self.loop.time()
        self._impatience = self.loop.call_later(self._patience_s, self._look_at_the_clock)
        if self._serving.draining:
            # It was in the queue when the others took leave.
            self.shutdown()

    def shutdown(self) -> None:
        """The server takes leave: what has begun ends, and what crosses with that on its way is still answered.

        An answer that has not begun says that it is the last one here. Where none is due, or one has begun that says
        nothing of the kind, the connection is closed when it has been quiet for a while: a client that uses it again
        before that gets its answer, and learns that it is the last.
        """
        self.timeout_keep_alive = self._serving.quiet_s  # type: ignore[assignment]  # call_later takes any number
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif not cycle.response_started:
            cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request lies in the socket already."""
        if not self.transport.is_closing() and _unread_bytes(self.transport) == 0:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, and give up a request of nothing but head or framing: uvicorn would keep all of it."""
        self._unproductive += len(data)
        super().data_received(data)
        if self._unproductive > MAX_HEAD_BYTES and self._arriving_since_s is not None:
            if self.cycle is None or self.cycle.response_complete or self._collecting is not None:
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _look_at_the_clock(self) -> None:
        """Close a connection whose request does not come to its end. One timer for all of its requests."""
        since_s, now_s = self._arriving_since_s, self.loop.time()
        if since_s is not None and now_s - since_s >= self._patience_s:
            if self._collecting is not None:
                self.transport.write(_TOO_SLOW)
            self.transport.close()
            return
        left_s = self._patience_s if since_s is None else self._patience_s - (now_s - since_s)
        self._impatience = self.loop.call_later(left_s, self._look_at_the_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left: cancel the expert."""
        if self._impatience is not None:
            self._impatience.cancel()
        exchange, self._exchange, self._collecting = self._exchange, None, None
        if exchange is not None:
            exchange.client_left()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client takes bytes again."""
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.drained()

    # What an exchange calls.

    def over(self, exchange: _Exchange) -> None:
        """The response is complete."""
        if self._exchange is exchange:
            self._exchange = None
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def asgi(self, exchange: _Exchange, departure: Departure | None, *, complete: bool) -> None:
        """Give a request that came into the lane to the ASGI app."""
        if self._exchange is exchange:
            self._exchange = None
        if self.transport.is_closing():
            if departure is not None:
                departure.routed.let_go()
            return
        # A request that came behind this one waits in uvicorn's queue already, and is the newest.
        newest, url, headers, expects = self.cycle, self.url, self.headers, self.expect_100_continue
        self.cycle = None
        self.url, self.headers, self.expect_100_continue = exchange.url, exchange.headers, False
        self._begin_asgi()
        cycle = self.cycle
        cycle.scope["method"] = "POST"
        cycle.keep_alive = exchange.keep_alive
        if departure is not None:
            cycle.scope[DEPARTURE] = departure
            cycle.scope[APP] = exchange.app
        cycle.body += exchange.body
        cycle.more_body = not complete
        cycle.message_event.set()
        if newest is not exchange:
            self.cycle, self.url, self.headers, self.expect_100_continue = newest, url, headers, expects

    def _begin_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the scope holds this list
        super().on_headers_complete()
        if self._serving.draining:
            self.cycle.keep_alive = False


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What the kernel has received and we have not."""
    fd = transport.get_extra_info("socket").fileno()
    found = fcntl.ioctl(fd, termios.FIONREAD, bytes(struct.calcsize("i")))
    return int(struct.unpack("i", found)[0])


class _NoEvent:
    """Nobody waits for it."""

    def set(self) -> None:
        """As asyncio.Event."""


_NO_EVENT: Final = _NoEvent()


class _Exchange:
    """A request in the lane and its response; the relay's client side, and what uvicorn takes for its own cycle."""

    __slots__ = (
        "_chunks",
        "_endpoint",
        "_protocol",
        "_relay",
        "_serving",
        "_transport",
        "app",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "response_complete",
        "response_started",
        "size",
        "url",
    )

    def __init__(
        self,
        protocol: FastLaneProtocol,
        serving: Serving,
        endpoint: Endpoint,
        url: bytes,
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
    ) -> None:
        self._protocol = protocol
        self._transport: asyncio.Transport = protocol.transport
        self._serving = serving
        self.app: App = serving.current
        self._endpoint = endpoint
        self._relay: Relay | None = None
        self._chunks: list[bytes] = []
        self.size = 0
        self.url = url
        self.headers = headers
        self.keep_alive = keep_alive
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NO_EVENT

    # What the protocol calls.

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def collect(self, data: bytes) -> int:
        """Keep a piece of the body; answers how many bytes are kept."""
        self._chunks.append(data)
        self.size += len(data)
        return self.size

    def start(self) -> None:
        """The request is complete. What serves now keeps it to its end."""
        self.app = self._serving.current
        lane = self.app.lane
        self._relay = lane.take(self, self._endpoint, self.headers, self.body)
        if self._relay is not None:
            lane.started(self._relay)
            self._relay.start()

    def hand_over_unfinished(self) -> None:
        """The body is larger than the lane takes; the rest goes to the app as it comes."""
        self._protocol.asgi(self, None, complete=False)

    def client_left(self) -> None:
        """The connection is gone."""
        self.disconnected = self.response_complete = True
        relay = self._relay
        if relay is not None:
            self._forget()
            relay.client_left()
            self.app.lane.left()

    def drained(self) -> None:
        """The client took what was waiting."""
        if self._relay is not None:
            self._relay.client_drained()

    # What the lane and the relay call.

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; the exchange is over."""
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head(status, headers), len(body), body))
        self._over()

    def refuse(self, refusal: RequestRefused) -> None:
        """An error instead of an answer; the exchange is over."""
        self.app.lane.refused(refusal)
        body = refusal_body(refusal, self.url.decode("latin-1"))
        self.send_whole(refusal.status, refusal.headers(), body)

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of a streamed response."""
        self.response_started = True
        self._transport.write(
            self._head(status, headers) + b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    def write(self, data: bytes) -> None:
        """A piece of a streamed response."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """The end of a streamed response; the exchange is over."""
        self._transport.write(b"0\r\n\r\n")
        self._over()

    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def hand_over(self, departure: Departure | None) -> None:
        """Let the way by coroutines go on from here; None where nothing is decided yet."""
        self._forget()
        self._protocol.asgi(self, departure, complete=True)

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [b"%b: %b\r\n" % pair for pair in [*self._protocol.server_state.default_headers, *headers]]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        return STATUS_LINE[status] + b"".join(lines)

    def _over(self) -> None:
        self._forget()
        self.response_complete = True
        self._protocol.over(self)

    def _forget(self) -> None:
        if self._relay is not None:
            self.app.lane.ended(self._relay)
            self._relay = None
