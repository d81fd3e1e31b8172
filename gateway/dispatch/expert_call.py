"""The request as an expert gets it: the client's own bytes if the expert speaks the client's API, otherwise a chat."""

from __future__ import annotations

from pointsman.experts.protocols import Endpoint, ExpertCall, Headers
from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.access.caller import ANYBODY
from pointsman.gateway.deciding.routed import RoutedRequest
from pointsman.gateway.settings.aliases import ANY
from pointsman.gateway.wire.asked_usage import asking, may_ask
from pointsman.gateway.wire.cache_salt import SALTED, salted
from pointsman.gateway.wire.chat_dialect import body_for
from pointsman.gateway.wire.forwarding import without_anthropics
from pointsman.gateway.wire.urgency import DEADLINE_HEADER


def adds_usage(spec: ExpertSpec, routed: RoutedRequest) -> bool:
    """Whether the expert is asked for the token counts of a stream whose client did not ask for them.

    For callers with limits, who are charged by them. Requests that are translated ask anyway.
    """
    inbound = routed.inbound
    return (
        inbound.stream
        and routed.caller.account is not None
        and inbound.translated is None
        and spec.stream_usage
        and not spec.null
        and may_ask(inbound.payload)
    )


def call_for(
    spec: ExpertSpec, routed: RoutedRequest, forward: Headers, now_s: float, *, with_usage: bool = False
) -> ExpertCall:
    """What is sent.

    Args:
        spec: The expert.
        routed: The decided request.
        forward: Client headers that may travel on.
        now_s: The moment it goes out (monotonic).
        with_usage: Whether to ask for the token counts of a stream (`adds_usage`).
    """
    inbound = routed.inbound
    translated, model = inbound.translated, spec.model
    if inbound.star:
        model = model.replace(ANY, inbound.star)
    if translated is not None and translated.spoken_by(spec):
        endpoint, body, payload = translated.endpoint, translated.body_for(model), translated.payload
    else:
        endpoint = inbound.endpoint
        body, payload = body_for(spec, inbound, model)
        if translated is not None:
            forward = without_anthropics(forward)
        if with_usage:
            body, payload = asking(body, payload, model)
    if spec.cache_salt:
        body = salted_for(routed, endpoint, body)
    if routed.deadline_s is not None:
        # For an expert that is a gateway like this one.
        left_ms = max(1, int((routed.deadline_s - now_s) * 1e3))
        forward = (*forward, (DEADLINE_HEADER, b"%d" % left_ms))
    return ExpertCall(
        request_id=routed.decision.id,
        endpoint=endpoint,
        body=body,
        payload=payload,
        stream=inbound.stream,
        headers=forward,
        prepared=None if routed.asked is None else routed.asked.answers.get(spec.name),
        model=model,
    )


def salted_for(routed: RoutedRequest, endpoint: Endpoint, body: bytes) -> bytes:
    """The body for an expert that keeps the prefixes of tenants apart; without keys there is one tenant."""
    return body if routed.caller is ANYBODY or endpoint not in SALTED else salted(body, routed.tenant)
