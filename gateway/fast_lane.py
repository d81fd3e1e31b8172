"""The way of most requests: decided on the spot and relayed by callbacks, between two sockets of one event loop.

It takes what needs no waiting: a caller who is known, a prompt that can be assessed here, an expert with an idle
connection. Whatever else comes up, at the start or half-way, is handed over to the ASGI data plane, which does the same
with coroutines. There is one implementation of everything but the transport, and `DataPlane` alone is complete: the
lane can be left out and only speed is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from experts.protocols import Endpoint
from gateway.auth import Keyring
from gateway.errors import Code, RequestRefused
from gateway.pipeline import Pipeline
from gateway.relay import ClientSide, Relay
from gateway.telemetry import Telemetry
from gateway.wire.forwarding import forwarded
from gateway.wire.paths import PATHS
from gateway.wire.request import parse_inbound

_log = logging.getLogger(__name__)

#: The request target, byte for byte: whatever is written in another way goes the long way.
ENDPOINTS: Final[Mapping[bytes, Endpoint]] = {
    path.encode(): endpoint for path, endpoint in PATHS.items() if endpoint is not Endpoint.COUNT_TOKENS
}

_PATHS: Final[Mapping[Endpoint, str]] = {endpoint: target.decode() for target, endpoint in ENDPOINTS.items()}


class FastLane:
    """Serves the requests it can; one per process.

    Args:
        pipeline: The way of one request.
        exploring: Whether further experts may be asked once the client has its answer.
        keyring: Who may call.
        telemetry: Counts refusals and disconnects.
        max_body_bytes: Largest body taken; larger ones are for others to refuse.
        forward_headers: Client headers that travel on to experts, lower case.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        exploring: bool,
        keyring: Keyring,
        telemetry: Telemetry,
        max_body_bytes: int,
        forward_headers: tuple[str, ...],
    ) -> None:
        self._pipeline = pipeline
        self._exploring = exploring
        self._keyring = keyring
        self._telemetry = telemetry
        self._forward = tuple(name.lower().encode() for name in forward_headers)
        self._under_way: set[Relay] = set()
        self.max_body_bytes = max_body_bytes

    def take(
        self, client: ClientSide, endpoint: Endpoint, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Relay | None:
        """Serve a request, refuse it, or hand it over: one of the three has happened, or the relay is under way.

        Args:
            client: Where the answer goes.
            endpoint: What is asked for.
            headers: Of the request, lower-case names.
            body: Complete.

        Returns:
            The relay, to be started; None where the exchange is out of our hands already.
        """
        # A header sent twice counts once: the last one, the same as on the other way.
        named = dict(headers)
        if b"content-encoding" in named:
            client.hand_over(None)
            return None
        pipeline = self._pipeline
        try:
            caller = self._keyring.caller(_PATHS[endpoint], named)
            account = caller.account
            if account is not None:
                account.check()
            routed = pipeline.decider.decide_now(parse_inbound(endpoint, body), caller, named)
            if routed is None:
                client.hand_over(None)
                return None
            departure = pipeline.depart(routed)
        except RequestRefused as refusal:
            client.refuse(refusal)
            return None
        except Exception:
            # The last resort, as in the data plane.
            _log.exception("request failed")
            client.refuse(RequestRefused(Code.INTERNAL, "The gateway failed; its log says why."))
            return None
        gathered = routed.evidence is not None or self._exploring or (account is not None and not routed.counted)
        expert = None if gathered or pipeline.hedges(departure.names) else pipeline.immediate(departure.names[0])
        if expert is None:
            client.hand_over(departure)
            return None
        return Relay(pipeline, client, departure, expert, forwarded(endpoint, self._forward, named))

    def started(self, relay: Relay) -> None:
        """A relay is under way."""
        self._under_way.add(relay)

    def ended(self, relay: Relay) -> None:
        """A relay is over."""
        self._under_way.discard(relay)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def stop(self) -> None:
        """Break off what is under way."""
        for relay in list(self._under_way):
            relay.stop()

    def refused(self, refusal: RequestRefused) -> None:
        """Count a refusal."""
        self._telemetry.refusals.labels(refusal.code.value).inc()

    def left(self) -> None:
        """Count a client that left before the end."""
        self._telemetry.disconnects.inc()
