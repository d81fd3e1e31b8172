"""uvicorn's HTTP/1.1 protocol as a transport of exchanges.

A request for an endpoint that experts answer gets no ASGI scope and no task. Its body goes to an exchange, which writes
its answer to the transport. Every other request becomes the ASGI request that uvicorn would make of it. Parsing,
keep-alive, pipelining, timeouts and shutdown remain uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.http.exchange import Exchange
from pointsman.gateway.http.flow_control import ReadFlowControl, unread_bytes
from pointsman.gateway.settings import Settings
from pointsman.gateway.wire.paths import PATHS, RequestTarget, target_of

#: Request target, byte for byte -> what it asks for. What is written in another way is looked at more closely.
_TARGETS: Final[Mapping[bytes, RequestTarget]] = {path.encode(): target_of(path) for path in PATHS}

#: To a request whose body does not come to its end.
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
#: To one whose head, or whose framing without a byte of body, does not come to its end.
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
#: How much of either is read, beyond the read in which it began.
MAX_HEAD_BYTES: Final = 64 * 1024


class _App(Protocol):
    @property
    def plane(self) -> DataPlane: ...


class Host(Protocol):
    """What the protocol has to know of the process it serves in."""

    draining: bool
    quiet_s: float

    @property
    def current(self) -> _App:
        """Takes every new request."""

    @property
    def settings(self) -> Settings:
        """What serves now."""


class GatewayProtocol(HttpToolsProtocol):
    """One connection of a client.

    Args:
        serving: Knows what answers; further arguments are uvicorn's.
    """

    def __init__(self, *args: Any, serving: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._serving = serving
        # How long a request may take to arrive, from its first byte (or from the connection) to its last.
        self._request_timeout_s = serving.settings.server.request_timeout_s
        self._request_began_s: float | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._bytes_without_progress = 0  # bytes since the request began, or since the last byte of its body
        self._in_head = False
        self._upgrading = False  # the head asks for another protocol, and is to be read as if it did not
        self._response: _Response | None = None  # of the exchange under way
        self._collecting: _Response | None = None  # whose request's body is coming
        self._unread: asyncio.TimerHandle | None = None  # the client is to take what is written to it
        # What is under way, ours or uvicorn's; uvicorn asks it how far it is.
        self.cycle: Any = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The scope is made when it is needed."""
        self._request_began_s = self.loop.time()
        self._bytes_without_progress = 0
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
        """An exchange, or an ASGI request."""
        self._in_head = False
        parser = self.parser
        if parser.should_upgrade():
            self._upgrading = True
            return
        if (
            parser.get_method() != b"POST"
            or self.expect_100_continue
            or not (self.cycle is None or self.cycle.response_complete)
        ):
            self._begin_asgi()
            return
        query, target = b"", _TARGETS.get(self.url)
        if target is None:
            path, _, query = self.url.partition(b"?")
            target = target_of(unquote(path.decode("ascii", "replace")))
        if target.endpoint is None:
            self._begin_asgi()
            return
        response = _Response(
            self, parser.should_keep_alive() and not self._serving.draining, old=parser.get_http_version() != "1.1"
        )
        response.exchange = exchange = Exchange(self._serving.current.plane, response, target.endpoint, target)
        self._collecting = self._response = self.cycle = response
        exchange.open(self.headers, query)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._bytes_without_progress = 0
        if self._collecting is None:
            super().on_body(body)
        elif self._collecting.exchange is not None:
            self._collecting.exchange.feed(body)

    def on_message_complete(self) -> None:
        """The end of the request."""
        if self._upgrading:
            return
        self._request_began_s = None
        response, self._collecting = self._collecting, None
        if response is None:
            super().on_message_complete()
        elif response.exchange is not None:
            response.exchange.start()

    # What the transport and the server call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.flow = ReadFlowControl(transport)
        self._request_began_s = self.loop.time()
        self._request_timer = self.loop.call_later(self._request_timeout_s, self._check_request_timeout)
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
        if not self.transport.is_closing() and unread_bytes(self.transport) == 0:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, and give up a request of nothing but head or framing: uvicorn would keep all of it."""
        self._unset_keepalive_if_required()
        self._bytes_without_progress += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._bytes_without_progress > MAX_HEAD_BYTES and self._request_began_s is not None:
            if self.cycle is None or self.cycle.response_complete or self._collecting is not None:
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _parse(self, data: bytes) -> None:
        """Feed the parser. An offer of another protocol is ignored, as a server may (RFC 9110, section 7.8).

        The parser stops at such a head and takes what follows for the other protocol. Another parser gets the same head
        without the offer, and reads the body as it is framed.

        Raises:
            httptools.HttpParserError: It is not HTTP, or asks for a tunnel.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                method = self.parser.get_method()
                if method == b"CONNECT":
                    raise httptools.HttpParserError("a tunnel was asked for") from None
                lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())]
                lines += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
                data = b"%b\r\n%b" % (b"".join(lines), data[offered.args[0] :])
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self._upgrading = False
            else:
                return

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP. A response that has begun, or an earlier one, is not written into."""
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if self.pipeline or (answering and (cycle.response_started or self._response not in (None, cycle))):
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _check_request_timeout(self) -> None:
        """Close a connection whose request does not come to its end. One timer for all of its requests."""
        since_s, now_s = self._request_began_s, self.loop.time()
        if since_s is not None and now_s - since_s >= self._request_timeout_s:
            if self._collecting is not None:
                self.transport.write(_TOO_SLOW)
            self.transport.close()
            return
        left_s = self._request_timeout_s if since_s is None else self._request_timeout_s - (now_s - since_s)
        self._request_timer = self.loop.call_later(left_s, self._check_request_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left: cancel the expert."""
        if self._request_timer is not None:
            self._request_timer.cancel()
        if self._unread is not None:
            self._unread.cancel()
        response, self._response, self._collecting = self._response, None, None
        try:
            if response is not None:
                response.client_left()
        finally:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up: it has a while to take what is written already, and is not read meanwhile."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._serving.settings.server.idle_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes bytes again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self._response is not None and self._response.exchange is not None:
            self._response.exchange.client_drained()

    # Inside.

    def response_over(self, response: _Response) -> None:
        """The response of an exchange is complete."""
        if self._response is response:
            self._response = None
        if not response.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _begin_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the scope holds this list
        super().on_headers_complete()
        if self._serving.draining:
            self.cycle.keep_alive = False


class _NoEvent:
    """Nobody waits for it."""

    def set(self) -> None:
        """As asyncio.Event."""


_NO_EVENT: Final = _NoEvent()


class _Response:
    """The response of an exchange: a `ClientSide`, and what uvicorn takes for its own cycle."""

    __slots__ = (
        "_old",
        "_protocol",
        "_transport",
        "disconnected",
        "exchange",
        "keep_alive",
        "message_event",
        "response_complete",
        "response_started",
    )

    def __init__(self, protocol: GatewayProtocol, keep_alive: bool, *, old: bool) -> None:
        self._protocol = protocol
        self._old = old  # HTTP/1.0, which knows no chunks, and closes unless it is told otherwise
        self._transport: asyncio.Transport = protocol.transport
        self.exchange: Exchange | None = None  # until the response is complete
        self.keep_alive = keep_alive
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NO_EVENT

    @property
    def begun(self) -> bool:
        """Whether the head of a streamed response went out."""
        return self.response_started

    def abort(self) -> None:
        """Cut the client off."""
        self._transport.abort()

    def client_left(self) -> None:
        """The connection is gone."""
        self.disconnected = self.response_complete = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_left()

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; it is complete."""
        if self.response_complete:
            raise RuntimeError("the response is complete")
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head(status, headers), len(body), body))
        self._complete()

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of a streamed response."""
        self.response_started = True
        framing = b"" if self._old else b"transfer-encoding: chunked\r\n"
        if self._old:
            # The end of the connection is the end of the answer.
            self.keep_alive = False
        self._transport.write(b"%bcache-control: no-cache\r\n%b\r\n" % (self._head(status, headers), framing))

    def write(self, data: bytes) -> None:
        """A piece of a streamed response."""
        self._transport.write(data if self._old else b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """The end of a streamed response; it is complete."""
        if not self._old:
            self._transport.write(b"0\r\n\r\n")
        self._complete()

    def unsent_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        if self.exchange is not None:
            self.exchange.complete_head(headers)
        lines = [b"%b: %b\r\n" % pair for pair in [*self._protocol.server_state.default_headers, *headers]]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self._old:
            lines.append(b"connection: keep-alive\r\n")
        return STATUS_LINE[status] + b"".join(lines)

    def _complete(self) -> None:
        self.response_complete = True
        self.exchange = None
        self._protocol.response_over(self)
