"""The hot path: a plain ASGI callable in front of the control plane. It parses once and passes bytes through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from experts.protocols import Endpoint
from gateway.answer import PulledAnswer
from gateway.asgi import (
    ASGIApp,
    ClientLeft,
    DisconnectWatch,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
    send_refusal,
    send_whole,
)
from gateway.auth import Keyring
from gateway.caller import CALLER, Caller
from gateway.errors import Code, RequestRefused, shutting_down
from gateway.exploration import Exploration
from gateway.gathered import GatheredAnswer
from gateway.null_experts import Recording
from gateway.pipeline import Departure, Pipeline
from gateway.recorder import Routed
from gateway.telemetry import Telemetry
from gateway.wire.forwarding import forwarded
from gateway.wire.messages.counting import ESTIMATE_HEADERS, estimate_body
from gateway.wire.paths import PATHS
from gateway.wire.refusal_shape import refusal_event
from gateway.wire.request import parse_inbound
from gateway.wire.response_head import answer_headers

_log = logging.getLogger(__name__)

#: In the scope of a request that was decided before it came here.
DEPARTURE: Final = "pointsman.departure"


class DataPlane:
    """Serves the OpenAI endpoints itself and hands everything else to the control plane.

    Args:
        pipeline: The way of one request; set once the process has started up.
        exploration: May ask another expert after the client has its answer; None where it never does.
        control: The FastAPI app.
        keyring: Who may call.
        telemetry: Counts refusals and disconnects.
        max_body_bytes: Largest accepted body.
        forward_headers: Client headers that travel on to experts, lower case.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        exploration: Exploration | None,
        control: ASGIApp,
        keyring: Keyring,
        telemetry: Telemetry,
        max_body_bytes: int,
        forward_headers: tuple[str, ...],
    ) -> None:
        self._pipeline = pipeline
        self._exploration = exploration
        self._control = control
        self._keyring = keyring
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes
        self._forward = tuple(name.lower().encode() for name in forward_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        sending = _Sending(send)
        # A header sent twice counts once: the last one, the same for authorisation and for everything after it.
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path: str = scope["path"]
        try:
            caller = self._keyring.caller(path, headers, scope["query_string"])
            endpoint = PATHS.get(path)
            if endpoint is None:
                scope[CALLER] = caller
                await self._control(scope, receive, sending)
                return
            if scope["method"] != "POST":
                raise RequestRefused(Code.METHOD_NOT_ALLOWED, f"{path} answers POST only.")
            await self._serve(endpoint, caller, headers, scope.get(DEPARTURE), receive, sending)
        except RequestRefused as refusal:
            self._telemetry.refusals.labels(refusal.code.value).inc()
            await send_refusal(send, refusal, path)
        except ClientLeft:
            self._telemetry.disconnects.inc()
        except asyncio.CancelledError:
            # Only a shutdown cancels us; once a response has begun, `_send_answer` has ended it.
            if not sending.begun:
                await send_refusal(send, shutting_down(), path)
        except Exception:
            # The last resort: a bug of ours must still be answered in the caller's shape, and be seen in the log.
            _log.exception("request failed")
            self._telemetry.refusals.labels(Code.INTERNAL.value).inc()
            if not sending.begun:
                failed = RequestRefused(Code.INTERNAL, "The gateway failed; its log says why.")
                await send_refusal(send, failed, path)

    async def _serve(
        self,
        endpoint: Endpoint,
        caller: Caller,
        headers: Mapping[bytes, bytes],
        departure: Departure | None,
        receive: Receive,
        send: Send,
    ) -> None:
        account = caller.account
        if departure is None and account is not None:
            account.check()
        try:
            body = await read_body(headers, receive, self._max_body_bytes)
        except BaseException:  # whatever it was, the request goes no further
            if departure is not None:
                departure.routed.let_go()
            raise
        forward = forwarded(endpoint, self._forward, headers)
        async with DisconnectWatch(receive) as watch:
            if departure is None or self._pipeline.overtaken(departure):
                if departure is not None:
                    departure.routed.let_go()
                inbound = parse_inbound(endpoint, body)
                if endpoint is Endpoint.COUNT_TOKENS and not self._pipeline.counts(inbound.model):
                    watch.release()
                    await send_whole(send, 200, list(ESTIMATE_HEADERS), estimate_body(inbound))
                    return
                departure = self._pipeline.depart(await self._pipeline.decider.decide(inbound, caller, headers))
            try:
                answer = await self._pipeline.answer(departure, forward)
            finally:
                departure.routed.let_go()
            recording = None
            if self._exploration is not None:
                recording = self._exploration.recording(departure.routed, answer.expert, forward)
            try:
                await _send_answer(send, watch, departure.routed, answer, recording)
            finally:
                await answer.aclose()
        if watch.client_left:
            self._telemetry.disconnects.inc()


class _Sending:
    """Knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def _send_answer(
    send: Send,
    watch: DisconnectWatch,
    routed: Routed,
    answer: PulledAnswer | GatheredAnswer,
    recording: Recording | None,
) -> None:
    headers = answer_headers(routed, answer)
    if answer.body is not None:
        watch.release()
        await send_whole(send, answer.status, headers, answer.body)
        if recording is not None:
            recording.whole(answer.body)
        return
    headers.append((b"cache-control", b"no-cache"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    pieces = answer.pieces()
    try:
        async for piece in pieces:
            if recording is not None:
                recording.feed(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except asyncio.CancelledError:
        if not watch.client_left:
            ending = refusal_event(shutting_down(), routed.inbound.asked)
            await send({"type": "http.response.body", "body": ending, "more_body": False})
        raise
    finally:
        # An async generator left half-way is not closed by the loop that left it.
        await pieces.aclose()
    watch.release()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    if recording is not None:
        recording.complete()
