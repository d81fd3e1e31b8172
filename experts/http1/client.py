"""A pooled HTTP/1.1 client for one origin."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from dataclasses import dataclass

from pointsman.experts.http1.connection import Connection
from pointsman.experts.http1.failures import (
    OURS,
    ClientClosedError,
    ConnectError,
    ConnectTimeout,
    PoolTimeout,
    why_not,
)
from pointsman.experts.http1.opening import ConnectionSource
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.proxy import Proxy
from pointsman.experts.http1.redirects import with_target
from pointsman.experts.http1.response import Headers, Response, Sink, Translate
from pointsman.experts.http1.upstream_request import UpstreamRequest
from pointsman.experts.http1.waiting import WaitingRequest, expire

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for what, in seconds.

    Attributes:
        connect_s: Name lookup, TCP and TLS together.
        queue_s: For a connection when all are busy.
        head_s: From the written request to the head of the response. A model that does not stream says nothing
            until it has finished, so this bounds a whole generation.
        idle_s: Between bytes of the body.
        keepalive_s: How long an unused connection is kept.
    """

    connect_s: float = 5.0
    queue_s: float = 10.0
    head_s: float = 600.0
    idle_s: float = 120.0
    keepalive_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much may happen at once.

    Attributes:
        max_connections: Open connections, busy or not; None for as many as there are requests.
        max_queued: Calls waiting for a connection; more are refused at once.
    """

    max_connections: int | None = 128
    max_queued: int = 1024


def field_lines(headers: Headers) -> bytes:
    """Headers as they stand in a request.

    Raises:
        ValueError: A name or value could end its line and begin another.
    """
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    count = len(headers)
    if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
        raise ValueError("a header holds a line break")
    return lines


class HttpClient:
    """Connections to one origin.

    A request goes out on the most recently used idle connection, else on a new one, else it waits in line for either.
    A reused connection that turns out to have been closed by the peer (nothing received, within `STALE_WINDOW_S`) is
    replaced once; everything else is for the sender of the request to judge.

    Args:
        origin: Where to.
        headers: Sent with every request, after `host`.
        timeouts: Defaults for every request.
        limits: Connections and queue.
        tls: TLS context; None for the system's trust store where the origin asks for TLS.
        proxy: The forward proxy to go through; None for none.
        translate: Renders every failure raised here or by a response; the identity when not given.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        headers: Headers = (),
        timeouts: Timeouts | None = None,
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        translate: Translate = lambda failure: failure,
    ) -> None:
        self.origin = origin
        self.timeouts = timeouts or Timeouts()
        self.limits = limits or ConnectionLimits()
        if self.limits.max_connections is not None and self.limits.max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self._source = ConnectionSource(origin, proxy, tls)
        self._headers = field_lines(((b"host", origin.authority.encode()), *self._source.headers, *headers))
        self.translate = translate
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._slots_taken = 0  # open connections and those being opened
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._all_lost: asyncio.Event | None = None
        self._told_of_compression = False

    @property
    def connections(self) -> int:
        """Open connections and those being opened."""
        return self._slots_taken

    @property
    def idle_connections(self) -> int:
        """Connections without a request."""
        return len(self._idle)

    @property
    def queued(self) -> int:
        """Calls waiting for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    def prepare(self, method: str, path: str, headers: Headers = ()) -> bytes:
        """The unchanging beginning of a request, to be given to `request`.

        Args:
            method: GET or POST.
            path: Below the origin's path, with a leading slash.
            headers: In addition to the client's.

        Raises:
            ValueError: A header holds a line break.
        """
        return f"{method} {self._source.target}{path} HTTP/1.1\r\n".encode() + self._headers + field_lines(headers)

    async def request(
        self,
        prepared: bytes,
        headers: Headers = (),
        body: bytes = b"",
        *,
        head_timeout_s: float | None = None,
        idle_timeout_s: float | None = None,
    ) -> Response:
        """Send a request and return when the head of its response is here.

        Cancelling it closes the connection at once.

        Args:
            prepared: From `prepare`.
            headers: Of this request alone.
            body: The whole body.
            head_timeout_s: In place of the client's own.
            idle_timeout_s: In place of the client's own.

        Raises:
            HttpFailure: As `translate` renders it.
            ValueError: A header holds a line break.
        """
        response = Response(asyncio.get_running_loop())
        self.send(prepared, headers, body, response, head_timeout_s=head_timeout_s, idle_timeout_s=idle_timeout_s)
        await response.head()
        return response

    def send(
        self,
        prepared: bytes,
        headers: Headers,
        body: bytes,
        sink: Sink,
        *,
        head_timeout_s: float | None = None,
        idle_timeout_s: float | None = None,
    ) -> None:
        """Send a request and pass each piece of its response to a sink.

        On an idle connection it goes out at once, else as soon as there is one. `sink.carrier` gives it up.

        Arguments as `request`.

        Raises:
            ValueError: A header holds a line break.
        """
        timeouts = self.timeouts
        request = UpstreamRequest(
            b"%b%bcontent-length: %d\r\n\r\n%b" % (prepared, field_lines(headers) if headers else b"", len(body), body),
            sink,
            timeouts.head_s if head_timeout_s is None else head_timeout_s,
            timeouts.idle_s if idle_timeout_s is None else idle_timeout_s,
        )
        connection = self._pop_idle()
        if connection is not None:
            connection.send(request)
        else:
            WaitingRequest(self, request)

    async def aclose(self) -> None:
        """Close every connection, busy ones too, and refuse all waiting requests. Idempotent."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(ClientClosedError("the client was closed"))
        self._idle.clear()
        if not self._open:
            return
        self._all_lost = self._all_lost or asyncio.Event()
        for connection in list(self._open):
            connection.shut()
        await self._all_lost.wait()

    # What a connection calls.

    def released(self, connection: Connection) -> None:
        """Give a free connection to the request that has waited longest, else keep it idle."""
        if self._closed:
            connection.abort()
        elif not self._grant(connection):
            connection.rest(self.timeouts.keepalive_s)
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Give the slot of a closed connection to the request that has waited longest."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._give_back_slot()
        if self._all_lost is not None and not self._open:
            self._all_lost.set()

    def send_again(self, request: UpstreamRequest) -> None:
        """The peer has restarted or tired of us: its other idle connections are as stale."""
        self._drop_idle()
        WaitingRequest(self, request)

    def compressed(self) -> None:
        """Responses come compressed: it costs time that nobody asked for, which the operator hears once."""
        if not self._told_of_compression:
            self._told_of_compression = True
            _log.warning("%s compresses (content-encoding) although it is asked not to", self.origin.authority)

    def redirected(self, request: UpstreamRequest, location: bytes) -> bool:
        """The server says to ask again at another path of its own; False where it names another place."""
        message = with_target(request.message, self.origin, location)
        if message is None:
            return False
        request.message = message
        request.redirects += 1
        WaitingRequest(self, request)
        return True

    # What a request that waits calls.

    async def acquire(self) -> Connection:
        """A connection to write on: an idle one, a new one, or the next that becomes free.

        Raises:
            HttpFailure: `ConnectError` or one below it.
        """
        deadline_s = asyncio.get_running_loop().time() + self.timeouts.queue_s
        while True:
            if self._closed:
                raise ClientClosedError("the client was closed")
            connection = self._pop_idle()
            if connection is not None:
                return connection
            most = self.limits.max_connections
            if most is None or self._slots_taken < most:
                self._slots_taken += 1
                return await self._connect()
            granted = await self._wait(deadline_s)
            if granted is None:
                return await self._connect()
            if granted.usable:  # it may have died between being granted and our waking up: then stand in line again
                return granted

    # Inside.

    def _pop_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def _drop_idle(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _grant(self, grant: Connection | None) -> bool:
        """Give a connection, or (None) the right to open one, to the longest waiting call."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(grant)
                return True
        return False

    def _give_back_slot(self) -> None:
        if not self._grant(None):  # a granted slot stays taken
            self._slots_taken -= 1

    async def _wait(self, deadline_s: float) -> Connection | None:
        loop = asyncio.get_running_loop()
        # Some in line may have given up already: count them only when it matters.
        if len(self._waiters) >= self.limits.max_queued and self.queued >= self.limits.max_queued:
            raise PoolTimeout(f"{self.limits.max_queued} calls are waiting for a connection already")
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_at(deadline_s, expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._hand_on(waiter.result())  # granted and cancelled in the same breath: nobody must lose it
            raise
        except PoolTimeout:
            with contextlib.suppress(ValueError):  # a grant that passed it over meanwhile has removed it
                self._waiters.remove(waiter)
            raise
        finally:
            timer.cancel()

    def _hand_on(self, grant: Connection | None) -> None:
        if grant is None:
            self._give_back_slot()
        elif grant.usable:
            self.released(grant)

    async def _connect(self) -> Connection:
        """Open a connection in a slot that is already taken."""
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                connection = await self._source.open(lambda: Connection(self, loop))
        except TimeoutError:
            raise ConnectTimeout(f"no connection within {self.timeouts.connect_s:g} s") from None
        except (OSError, ssl.SSLError) as error:
            if error.errno in OURS:
                raise PoolTimeout(why_not(error)) from error
            raise ConnectError(why_not(error)) from error
        finally:
            if connection is None:
                self._give_back_slot()
        if not connection.usable:  # closed by the peer between TLS handshake and here
            self._give_back_slot()
            raise ConnectError("closed by the peer as soon as it was open")
        connection.owned = True
        self._open.add(connection)
        if self._closed:
            connection.abort()
            raise ClientClosedError("the client was closed")
        return connection
