"""One request and its response, from the head of the request to the end of the response.

A transport (`protocol.py`, or `asgi.py` for any other server) brings the request and takes the response. If a request
can be decided without waiting, it is dispatched at once. Otherwise one task of the exchange does the waiting, and
continues where the callbacks stopped. The answer comes by callbacks in both cases (`dispatch.py`, `relay.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.access.caller import ANYBODY, count_refused
from pointsman.gateway.access.limits import Reservation
from pointsman.gateway.deciding.eligibility import counts_tokens
from pointsman.gateway.deciding.question import Question
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.dispatch.data_plane import DataPlane
from pointsman.gateway.dispatch.dispatch import Dispatch
from pointsman.gateway.dispatch.relay import ClientSide
from pointsman.gateway.dispatch.reservations import reserve_now, reserve_or_wait
from pointsman.gateway.errors import CLIENT_LEFT, Code, RequestRefused, shutting_down
from pointsman.gateway.http.body import Body
from pointsman.gateway.http.response_fields import complete_head
from pointsman.gateway.refusals import refusal_of
from pointsman.gateway.wire.decision import seen_by
from pointsman.gateway.wire.forwarding import forwarded
from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.messages.counting import ESTIMATE_HEADERS, estimate_body
from pointsman.gateway.wire.paths import RequestTarget
from pointsman.gateway.wire.refusal_shape import refusal_body, refusal_event
from pointsman.gateway.wire.request import Inbound, parse_inbound, parse_json
from pointsman.gateway.wire.stateful_fields import STATEFUL

_log = logging.getLogger(__name__)


class Exchange:
    """One request to an endpoint that experts answer.

    Args:
        plane: What it runs on, to its end.
        client: Where the response goes.
        endpoint: What is called.
        target: By which path, and for which model.

    Attributes:
        over: Whether the response is complete, or nobody waits for it any more.
    """

    __slots__ = (
        "_body",
        "_caller",
        "_client",
        "_dispatch",
        "_endpoint",
        "_headers",
        "_plane",
        "_target",
        "_task",
        "over",
    )

    def __init__(self, plane: DataPlane, client: ClientSide, endpoint: Endpoint, target: RequestTarget) -> None:
        self._plane = plane
        self._client = client
        self._endpoint = endpoint
        self._target = target
        self._headers: Mapping[bytes, bytes] = {}
        self._caller = ANYBODY
        self._dispatch: Dispatch | None = None
        self._task: asyncio.Task[None] | None = None
        self.over = False
        plane.under_way.add(self)

    # What the transport calls.

    def open(self, headers: Sequence[tuple[bytes, bytes]], query: bytes = b"") -> None:
        """The head of the request is here; `over` tells whether it was refused.

        Args:
            headers: Lower-case names. A header sent twice counts once, the last one.
            query: What follows the `?`.
        """
        named = self._headers = dict(headers)
        try:
            caller = self._plane.keyring.caller(self._target.path, named, query)
            if caller.account is not None:
                caller.account.check()
            self._caller = caller
            self._body = Body(named, self._plane.body_limits)
        except RequestRefused as refusal:
            self.refuse(refusal)
        except Exception as error:  # as in `start`
            self.on_internal_error(error)

    def feed(self, piece: bytes) -> None:
        """A piece of the body is here; `over` tells whether it was one too many."""
        if not self.over:
            try:
                self._body.feed(piece)
            except RequestRefused as refusal:
                self.refuse(refusal)
            except Exception as error:  # as in `start`
                self.on_internal_error(error)

    def start(self) -> None:
        """The request is complete."""
        try:
            body = self._body.whole()
            left = self._begin(body) if len(body) < LARGE_BYTES else self._begin_large(body)
            if left is not None:
                self.wait(left)
        except RequestRefused as refusal:
            self.refuse(refusal)
        except Exception as error:  # the last resort
            self.on_internal_error(error)

    def client_left(self) -> None:
        """The client is gone: cancel the expert."""
        if not self.over:
            try:
                self._plane.telemetry.disconnects.inc()
                self._cancel_dispatch(CLIENT_LEFT)
                self.end()
            except Exception as error:  # nothing may be left behind
                self._break_off(error)

    def client_drained(self) -> None:
        """The client took what was waiting: read on."""
        if self._dispatch is not None:
            self._dispatch.resume()

    def stop(self) -> None:
        """The gateway shuts down: cancel the expert and say so."""
        try:
            self._abort(shutting_down(), CLIENT_LEFT)
        except Exception as error:  # as in `client_left`
            self._break_off(error)

    def complete_head(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Add what every response says, whatever it is."""
        complete_head(headers, self._headers, self._plane.cors)

    # Deciding.

    def _begin(self, body: bytes) -> Coroutine[None, None, None] | None:
        """Answer, or decide and begin the first call; what is left to be waited for, None where nothing is."""
        if self._plane.resumption.concerns(self._endpoint, body):
            return self._resume(body)
        return self._begin_whole(body)

    def _begin_whole(self, body: bytes, previous: str | None = None) -> Coroutine[None, None, None] | None:
        """The same of a body that has all turns in it.

        Args:
            body: The body.
            previous: The response that it named as the one before.
        """
        inbound = self._parse(body)
        if inbound.translated is not None:
            inbound.translated.previous = previous
        if self._counted(inbound):
            return None
        return self._decide(self._plane.decider.read(inbound, self._caller, self._headers))

    async def _resume(self, body: bytes) -> None:
        """The same of a body that names turns which may be kept here."""
        whole, previous = await self._plane.resumption.resumed(self._endpoint, body, self._caller)
        if len(whole) < LARGE_BYTES:
            left = self._begin_whole(whole, previous)
            if left is not None:
                await left
        else:
            await self._begin_large_whole(whole, previous)

    async def _begin_large(self, body: bytes) -> None:
        """The same of a body that is read beside the event loop."""
        plane, read = self._plane, partial(self._plane.resumption.concerns, self._endpoint, body)
        if self._endpoint in STATEFUL and await plane.large_bodies.read_request(self._caller.tenant, read):
            await self._resume(body)
        else:
            await self._begin_large_whole(body)

    async def _begin_large_whole(self, body: bytes, previous: str | None = None) -> None:
        plane, tenant = self._plane, self._caller.tenant
        arrival = plane.decider.arrival()
        inbound = await plane.large_bodies.read_request(tenant, partial(self._parse, body))
        if inbound.translated is not None:
            inbound.translated.previous = previous
        if not self._counted(inbound):
            read = partial(plane.decider.read_large, inbound, self._caller, self._headers, arrival)
            left = self._decide(await plane.large_bodies.read_request(tenant, read))
            if left is not None:
                await left

    def _parse(self, body: bytes) -> Inbound:
        model = self._target.model
        if model is not None:
            body = orjson.dumps({**parse_json(body), "model": model})
        return parse_inbound(self._endpoint, body)

    def _counted(self, inbound: Inbound) -> bool:
        """Answer a question for tokens that no expert counts; whether it is one."""
        if self._endpoint is not Endpoint.COUNT_TOKENS or counts_tokens(
            self._plane.pool, inbound.model, self._caller.experts, self._plane.decider.aliases
        ):
            return False
        self._client.send_whole(200, list(ESTIMATE_HEADERS), estimate_body(inbound))
        self.end()
        return True

    def _decide(self, question: Question) -> Coroutine[None, None, None] | None:
        routed = self._plane.decider.now(question)
        if routed is not None and self._dispatch_now(routed):
            return None
        return self._decide_and_dispatch(question, routed)

    def _dispatch_now(self, routed: RoutedRequest) -> bool:
        """Begin the first call in the step in which it was decided; False where something has to be waited for."""
        self._require_expert(routed)
        reservation = None
        if routed.evidence is not None:
            return False
        if routed.caller.account is not None:
            reservation = reserve_now(routed, self._plane.pool[str(routed.decision.expert)].spec)
            if reservation is None:
                return False
        self._begin_dispatch(routed, reservation).ask(reservation)
        return True

    async def _decide_and_dispatch(self, question: Question, routed: RoutedRequest | None) -> None:
        """The same, with the waiting."""
        plane = self._plane
        reservation: Reservation | None = None
        while True:
            if routed is None:
                routed = await plane.decider.later(question)
                self._require_expert(routed)
            if routed.evidence is not None:
                break
            chosen = str(routed.decision.expert)
            reservation = await reserve_or_wait(routed, plane.pool[chosen].spec)
            if reservation is None or plane.pool.has_room(chosen):
                break
            # Others filled it while the limits were asked for.
            reservation.cancel()
            routed = None
        dispatch = self._begin_dispatch(routed, reservation)
        if routed.evidence is None:
            dispatch.ask(reservation)
        else:
            await dispatch.gather(routed.evidence)

    def _require_expert(self, routed: RoutedRequest) -> None:
        """See that somebody is to answer.

        Raises:
            RequestRefused: No expert is admissible.
        """
        if routed.decision.expert is None:
            self._plane.telemetry.decided(routed.decision, routed.hit)
            raise refusal_of(seen_by(routed.decision, routed.caller.seen), operators=routed.operators)

    def _begin_dispatch(self, routed: RoutedRequest, reservation: Reservation | None) -> Dispatch:
        """The decision stands: its first call begins."""
        try:
            forward = forwarded(self._endpoint, self._plane.forward, self._headers)
            self._dispatch = dispatch = Dispatch(self, self._plane, self._client, routed, forward)
        except BaseException:  # whatever it was, nothing stays held
            if reservation is not None:
                reservation.cancel()
            raise
        return dispatch

    # What a dispatch calls.

    def wait(self, work: Coroutine[None, None, None]) -> None:
        """Continue in a task. An exchange has one at most, so the callbacks have nothing more to do."""
        self._task = asyncio.get_running_loop().create_task(work, name="exchange")
        self._task.add_done_callback(self._on_task_done)

    def cancel_wait(self) -> None:
        """What is waited for is of no more use."""
        if self._task is not None:
            self._task.cancel()

    def refuse(self, refusal: RequestRefused) -> None:
        """An error instead of an answer. Never raises."""
        if not self.over:
            try:
                self._refuse(refusal)
            except Exception as error:  # as in `client_left`
                self._break_off(error)

    def on_internal_error(self, error: BaseException) -> None:
        """A bug of ours: it must still be answered in the caller's shape, and be seen in the log. Never raises."""
        _log.error("request failed", exc_info=error)
        failed = RequestRefused(Code.INTERNAL, "The gateway failed; its log says why.")
        dispatch = self._dispatch
        try:
            self._abort(failed, failed.status)
        except Exception as further:  # as in `client_left`
            self._break_off(further)
        if dispatch is not None:
            # Whoever was to account for a call may be the one that failed.
            dispatch.let_go()

    def end(self) -> None:
        """The response is complete, or nobody waits for it any more."""
        self.over = True
        self._dispatch = None  # it refers to us
        self._plane.under_way.discard(self)

    # Ending.

    def _abort(self, refusal: RequestRefused, status: int) -> None:
        """End the response with an error, even one that has begun."""
        if self.over:
            return
        if not self._client.begun:
            self._refuse(refusal)
            return
        self._cancel_dispatch(status)
        self._client.write(refusal_event(refusal, self._endpoint))
        self._client.end()
        self.end()

    def _refuse(self, refusal: RequestRefused) -> None:
        if self._dispatch is None:
            count_refused(self._caller, refusal)
        self._cancel_dispatch(refusal.status)
        self._plane.telemetry.refusals.labels(refusal.code.value).inc()
        body = refusal_body(refusal, self._target.path)
        self._client.send_whole(refusal.status, refusal.headers(), body)
        self.end()

    def _break_off(self, error: Exception) -> None:
        """Not even an error can be said as it should: cut the client off, and let everything go."""
        _log.error("request broken off", exc_info=error)
        dispatch = self._dispatch
        self.cancel_wait()
        self.end()
        if dispatch is not None:
            dispatch.let_go()
        self._client.abort()

    def _cancel_dispatch(self, status: int) -> None:
        self.cancel_wait()
        if self._dispatch is not None:
            self._dispatch.cancel(status)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, RequestRefused):
            self.refuse(error)
        elif error is not None:
            self.on_internal_error(error)
