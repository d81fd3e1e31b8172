"""One HTTP/1.1 connection.

Written for a proxy's hot path: a protocol class with slots, one future per wait, one `transport.write` per request, one
timer per connection that is moved rather than re-created, and no copy of the body that is not needed to join it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from pointsman.experts.http1.decoding import BodyDecoder, decoder_of
from pointsman.experts.http1.failures import (
    BadResponse,
    BodyBroken,
    ClientClosedError,
    ConnectionLostError,
    HeadTimeout,
    HttpFailure,
    IdleTimeout,
)
from pointsman.experts.http1.redirects import FOLLOWED, MOST_REDIRECTS
from pointsman.experts.http1.response import Sink, Translate
from pointsman.experts.http1.upstream_request import UpstreamRequest

#: Bytes of a response head (and of trailers or chunk framing without a byte of body) before the peer is given up.
MAX_HEAD_BYTES = 64 * 1024
#: Bytes of body waiting for the reader at which the socket is no longer read; reading resumes when they are taken.
MAX_BUFFERED_BYTES = 256 * 1024

#: Headers that speak of one connection, not of the response (RFC 9110, section 7.6.1), dropped here.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: How soon after the request a reused connection has to die, with nothing received, to count as one that the peer had
#: closed before. Later, the peer may have been working on the request: sending it twice would make it work twice.
STALE_WINDOW_S = 1.0

_NEVER = float("inf")
#: Headers that speak of a compression that is undone here.
_OF_THE_CODING = frozenset((b"content-encoding", b"content-length", b"content-md5", b"digest", b"etag"))


class Owner(Protocol):
    """Who keeps the connections; told when one is free for another request and when one is gone.

    Attributes:
        translate: Renders failures for sinks.
    """

    translate: Translate

    def released(self, connection: Connection) -> None:
        """The response is complete and the connection may be used again."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed. Called once, only after `Connection.owned` was set."""

    def redirected(self, request: UpstreamRequest, location: bytes) -> bool:
        """The server names another place; whether the request goes there, on a connection of its own."""

    def compressed(self) -> None:
        """A response came compressed, though none was asked to."""

    def send_again(self, request: UpstreamRequest) -> None:
        """The peer had closed the connection before it got the request: another connection is to carry it."""


class Connection(asyncio.Protocol):
    """One connection, at most one request at a time.

    Attributes:
        owned: Set by the owner once connecting succeeded; from then on the owner hears of the end.
        reused: A response was already read from it, so the peer may have closed it without our knowing yet.
    """

    __slots__ = (
        "_deadline_s",
        "_decoder",
        "_done",
        "_head_seen",
        "_headers",
        "_keep_alive",
        "_loop",
        "_owner",
        "_parser",
        "_paused",
        "_received",
        "_request",
        "_sent_at_s",
        "_spoiled",
        "_timer",
        "_transport",
        "_unproductive",
        "_until_close",
        "owned",
        "reused",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._request: UpstreamRequest | None = None
        self._decoder: BodyDecoder | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = _NEVER
        self._received = self._head_seen = self._done = False
        self._keep_alive = self._until_close = self._spoiled = self._paused = False
        self._unproductive = 0
        self.owned = self.reused = False
        self._sent_at_s = 0.0

    # What the owner calls.

    @property
    def usable(self) -> bool:
        """Whether another request may be written."""
        return self._transport is not None and self._request is None and not self._transport.is_closing()

    def rest(self, keepalive_s: float) -> None:
        """Stay open without a request, for so long at most."""
        self._arm(self._loop.time() + keepalive_s)

    def abort(self) -> None:
        """Close at once, without flushing."""
        if self._transport is not None:
            self._transport.abort()

    def shut(self) -> None:
        """Close at once because the owner closes."""
        self.fail(
            BodyBroken("the client was closed") if self._head_seen else ClientClosedError("the client was closed")
        )

    def send(self, request: UpstreamRequest) -> None:
        """Write a request, and pass each piece of its response to its sink.

        Raises:
            ConnectionLostError: Closed already; nothing was written.
        """
        self._sent_at_s = self._loop.time()
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionLostError("closed before the request was written", received=False)
        self._request = request
        request.sink.carrier = self
        self._headers = []
        self._decoder = None
        self._received = self._head_seen = self._done = False
        self._unproductive = 0
        self._arm(self._sent_at_s + request.head_timeout_s)
        transport.write(request.message)

    # What the response calls.

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server."""
        return True

    def resume(self) -> None:
        """The reader took everything: read on."""
        if self._paused and self._transport is not None and self._request is not None:
            self._paused = False
            self._arm(self._loop.time() + self._request.idle_timeout_s)
            self._transport.resume_reading()

    def fail(self, failure: HttpFailure) -> None:
        """End the response with a failure (if one is being read) and close."""
        request, self._request = self._request, None
        self.abort()
        if request is not None:
            request.finish(failure, self._owner.translate)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse, hand over, apply back-pressure."""
        request, parser = self._request, self._parser
        if request is None or parser is None:
            self.abort()  # bytes that nobody asked for: whatever they are, the connection is out of step
            return
        self._received = True
        self._unproductive += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(BadResponse("switches to another protocol"))
            return
        except httptools.HttpParserError as error:
            self._spoiled = True
            if not self._done:
                self.fail(BodyBroken(f"not HTTP: {error}") if self._head_seen else BadResponse(f"not HTTP: {error}"))
                return
        if self._request is None:
            return  # given up while it was parsed
        if self._done:
            self._complete(request)
        elif self._unproductive > MAX_HEAD_BYTES:
            if self._head_seen:
                self.fail(BodyBroken("framing without content"))
            else:
                self.fail(BadResponse(f"head larger than {MAX_HEAD_BYTES} bytes"))
        elif self._head_seen:
            if not self._paused:
                self._arm(self._loop.time() + request.idle_timeout_s)
            request.sink.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request in progress, if any, and notify the owner."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport = self._parser = None  # the parser holds our bound methods: break the cycle
        request, self._request = self._request, None
        if request is not None:
            detail = f": {exc}" if exc is not None and str(exc) else ""
            if not self._head_seen:
                if self._stale and not request.resent:
                    request.resent = True
                    self._owner.send_again(request)
                else:
                    lost = ConnectionLostError(f"closed before its answer{detail}", received=self._received)
                    request.finish(lost, self._owner.translate)
            elif self._until_close and exc is None:
                request.finish(None, self._owner.translate)
            else:
                request.finish(BodyBroken(f"closed before the end of the body{detail}"), self._owner.translate)
        if self.owned:
            self._owner.lost(self)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A second message without a second request spoils the connection."""
        if self._done:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the head; trailers are dropped."""
        if not self._head_seen:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is here, unless it is an interim one."""
        parser, request = self._parser, self._request
        if parser is None or request is None or self._done:
            return
        status = parser.get_status_code()
        if not 100 <= status < 600:
            raise BadResponse(f"status {status}")  # what no client of ours could be told (RFC 9110, section 15)
        if status < 200:
            return  # 100 Continue, 103 Early Hints; 101 ends in HttpParserUpgrade
        headers = self._headers
        names = [name for name, _ in headers]
        if status in FOLLOWED and request.redirects < MOST_REDIRECTS and self._follow(request, headers):
            return
        if b"content-encoding" in names:
            try:
                self._decoder = decoder_of(headers)
            except BodyBroken as failure:
                self.fail(BadResponse(str(failure)))
                return
            if self._decoder is not None:
                self._owner.compressed()
            headers = [pair for pair in headers if pair[0] not in _OF_THE_CODING]
        self._until_close = (
            b"content-length" not in names and b"transfer-encoding" not in names and status not in (204, 304)
        )
        self._keep_alive = parser.should_keep_alive()
        dropped: frozenset[bytes] | set[bytes] = HOP_BY_HOP
        if b"connection" in names:
            dropped = HOP_BY_HOP.union(
                token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
            )
        request.sink.status = status
        request.sink.headers = tuple([pair for pair in headers if pair[0] not in dropped])
        self._head_seen = True
        self._unproductive = 0

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        request = self._request
        if request is None or self._done:
            return
        self._unproductive = 0
        if self._decoder is not None:
            self._decode(self._decoder, request.sink, data)
        elif request.sink.push(data) > MAX_BUFFERED_BYTES:
            self._pause()

    def on_message_complete(self) -> None:
        """The end of the response, unless it was an interim one."""
        if self._head_seen:
            self._done = True
        else:
            self._headers = []

    # Inside.

    @property
    def _stale(self) -> bool:
        """Whether the peer had closed this used connection before it could get the request."""
        return self.reused and not self._received and self._loop.time() - self._sent_at_s <= STALE_WINDOW_S

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._deadline_s = _NEVER  # the reader is slow, not the peer
            self._transport.pause_reading()

    def _follow(self, request: UpstreamRequest, headers: list[tuple[bytes, bytes]]) -> bool:
        """Send a request where the server says, if that is another path of its own."""
        location = next((value for name, value in headers if name == b"location"), None)
        if location is None or not self._owner.redirected(request, location):
            return False
        self._request = None
        self.abort()  # rather than read what nobody needs
        return True

    def _decode(self, decoder: BodyDecoder, sink: Sink, data: bytes) -> None:
        try:
            waiting = max((sink.push(piece) for piece in decoder.feed(data)), default=0)
        except BodyBroken as failure:
            self.fail(failure)
            return
        if waiting > MAX_BUFFERED_BYTES:
            self._pause()

    def _complete(self, request: UpstreamRequest) -> None:
        if self._decoder is not None and not self._decoder.complete:
            self.fail(BodyBroken("closed before the end of what was compressed"))
            return
        self._request = None
        transport = self._transport
        self._deadline_s = _NEVER
        if transport is not None:
            if self._paused:
                self._paused = False
                transport.resume_reading()
            if self._keep_alive and not self._spoiled and not transport.is_closing() and not _unsent(transport):
                self.reused = True
                self._owner.released(self)
            else:
                transport.abort()
        request.finish(None, self._owner.translate)

    def _arm(self, deadline_s: float) -> None:
        """Set the one deadline. A timer that fires early is set again then: cheaper than a timer per request."""
        self._deadline_s = deadline_s
        if deadline_s == _NEVER:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline_s == _NEVER:
            return
        now_s = self._loop.time()
        if now_s + 0.001 < self._deadline_s:
            self._timer = self._loop.call_at(self._deadline_s, self._on_timer)
        elif self._request is None:
            self.abort()
        elif self._head_seen:
            self.fail(IdleTimeout(f"no byte for {self._request.idle_timeout_s:g} s"))
        else:
            self.fail(HeadTimeout(f"no answer within {now_s - self._sent_at_s:.3g} s"))


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes of the request that the peer has not taken: it answered without reading them, so it is out of step."""
    return transport.get_write_buffer_size()
