"""The gateway on any ASGI server: the few ASGI shapes, and the transport of an exchange over them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.access.caller import CALLER
from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.errors import Code, RequestRefused, shutting_down
from pointsman.gateway.http.body import Body
from pointsman.gateway.http.exchange import Exchange
from pointsman.gateway.http.response_fields import complete_head
from pointsman.gateway.wire.cors import preflight
from pointsman.gateway.wire.large_bodies import BodyLimits
from pointsman.gateway.wire.paths import RequestTarget, target_of
from pointsman.gateway.wire.refusal_shape import refusal_body

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientDisconnect(Exception):
    """The client closed the connection."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limits: BodyLimits) -> bytes:
    """The request body, inflated where it came compressed.

    Raises:
        RequestRefused: Beyond the limits, or in an encoding we do not read.
        ClientDisconnect: The client left before the end of the body.
    """
    body = Body(headers, limits)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body.feed(message.get("body", b""))
        if not message.get("more_body", False):
            return body.whole()


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """One response in one piece."""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class ASGIDataPlane:
    """Serves the endpoints that experts answer by exchanges, and hands everything else to the control plane.

    Args:
        plane: What exchanges run on.
        control: The FastAPI app.
    """

    def __init__(self, plane: DataPlane, control: ASGIApp) -> None:
        self._plane = plane
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        target = target_of(scope["path"])
        if target.endpoint is not None and scope["method"] == "POST":
            await _Transport(self._plane, target.endpoint, target, scope, receive, send).run()
            return
        headers = dict(scope["headers"])
        sending = _Sending(send, self._plane, headers)
        refusal = None
        try:
            if scope["method"] == "OPTIONS" and (answer := preflight(headers, self._plane.cors)) is not None:
                await send_whole(sending, *answer, b"")
                return
            # Of one path for all that look at it; a HEAD is a GET whose answer's body is not sent.
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            caller = self._plane.keyring.caller(target.path, headers, scope["query_string"])
            scope = {**scope, "path": target.path, "method": method, CALLER: caller}
            if target.endpoint is None:
                await self._control(scope, receive, sending)
            else:
                refusal = RequestRefused(
                    Code.METHOD_NOT_ALLOWED, f"{target.path} answers POST only.", notes=((b"allow", b"POST"),)
                )
        except RequestRefused as refused:
            refusal = refused
        except asyncio.CancelledError:
            # Only a shutdown cancels us.
            refusal = shutting_down()
        except Exception as error:  # the last resort: a bug of ours must still be answered, and be seen in the log
            if sending.begun and isinstance(error, OSError):
                return  # the client is gone, or took nothing for too long
            _log.exception("request failed")
            refusal = RequestRefused(Code.INTERNAL, "The gateway failed; its log says why.")
        if refusal is not None:
            self._plane.telemetry.refusals.labels(refusal.code.value).inc()
            if not sending.begun:
                body = refusal_body(refusal, target.path)
                await send_whole(sending, refusal.status, refusal.headers(), body)


class _Sending:
    """Knows whether a response has begun, and gives up a client that takes nothing of it."""

    def __init__(self, send: Send, plane: DataPlane, headers: Mapping[bytes, bytes]) -> None:
        self._send = send
        self._plane = plane
        self._headers = headers
        self._timeout_s = plane.idle_timeout_s
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if not self.begun:
            fields = list(message.get("headers", ()))
            complete_head(fields, self._headers, self._plane.cors)
            message = {**message, "headers": fields}
        self.begun = True
        async with asyncio.timeout(self._timeout_s):
            await self._send(message)


class _Transport:
    """Carries one exchange: what it writes is sent in order, and a client that leaves ends it. A `ClientSide`."""

    def __init__(
        self,
        plane: DataPlane,
        endpoint: Endpoint,
        target: RequestTarget,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._messages: deque[Message] = deque()
        self._unsent = 0
        self._complete = False
        self.begun = False
        self._gone = False
        self._written = asyncio.Event()
        self._request_timeout_s = plane.idle_timeout_s
        self._exchange = Exchange(plane, self, endpoint, target)

    async def run(self) -> None:
        """Serve the request to its end."""
        exchange = self._exchange
        exchange.open(self._scope["headers"], self._scope["query_string"])
        receiving = asyncio.create_task(self._receive_all())
        receiving.add_done_callback(self._on_received)
        try:
            await self._send_all()
        except asyncio.CancelledError:
            # Only a shutdown cancels us.
            exchange.stop()
            await self._send_all()
        except OSError:
            # As servers say that the client is gone; it took nothing for too long (TimeoutError) comes to the same.
            exchange.client_left()
        finally:
            # Nothing where the response is complete.
            exchange.client_left()
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # `_on_received` has seen it
                await receiving
            del self._exchange  # it holds us
        if self._gone:
            # As servers are told that a response cannot be ended as it should.
            raise ClientDisconnect

    async def _receive_all(self) -> None:
        """The body, then the client's leaving."""
        exchange, more = self._exchange, True
        while not exchange.over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                exchange.client_left()
                self._written.set()
            elif more:
                exchange.feed(message.get("body", b""))
                more = message.get("more_body", False)
                if not more and not exchange.over:
                    exchange.start()

    def _on_received(self, receiving: asyncio.Task[None]) -> None:
        """The body, and the client's leaving, cannot be received: the client is as good as gone."""
        if not receiving.cancelled() and (error := receiving.exception()) is not None:
            _log.error("a request could not be received", exc_info=error)
            self._exchange.client_left()
            self._written.set()

    async def _send_all(self) -> None:
        while True:
            while self._messages:
                message = self._messages.popleft()
                async with asyncio.timeout(self._request_timeout_s):
                    await self._send(message)
                self._unsent -= len(message.get("body", b""))
                if not self._messages:
                    self._exchange.client_drained()
            if self._complete or self._gone or self._exchange.over:
                return
            self._written.clear()
            await self._written.wait()

    def send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A response in one piece; it is complete."""
        if self._complete:
            raise RuntimeError("the response is complete")
        self._exchange.complete_head(headers)
        headers.append((b"content-length", str(len(body)).encode()))
        self._put({"type": "http.response.start", "status": status, "headers": headers})
        self._put({"type": "http.response.body", "body": body, "more_body": False})
        self._complete = True

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of a streamed response."""
        self._exchange.complete_head(headers)
        headers.append((b"cache-control", b"no-cache"))
        self.begun = True
        self._put({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> None:
        """A piece of a streamed response."""
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """The end of a streamed response; it is complete."""
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self._complete = True

    def abort(self) -> None:
        """Cut the client off."""
        self._gone = True
        self._messages.clear()
        self._written.set()

    def unsent_bytes(self) -> int:
        """What the server has not taken yet."""
        return self._unsent

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        self._unsent += len(message.get("body", b""))
        self._written.set()
