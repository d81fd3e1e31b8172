"""Decisions: make one without a call, look one up, judge one.

The endpoints are `POST /v1/route`, `GET /v1/decisions/{id}` and `POST /v1/feedback`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.access.caller import CALLER, Caller, Role, count_refused
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.asgi import read_body
from pointsman.gateway.runtime import Runtime
from pointsman.gateway.wire.decision import decision_to_dict, seen_by
from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.outcome import in_whole_ms
from pointsman.gateway.wire.request import AUTO, Inbound, parse_inbound, parse_json

#: Takes whole requests; every other body of the control plane is a small one.
ROUTE: Final = "/v1/route"
#: The field that tells what a body is for.
_KNOWN_BY: Final = {"messages": Endpoint.CHAT, "input": Endpoint.RESPONSES}
#: Fields of a text completion that no chat has.
_COMPLETES: Final = frozenset({"suffix", "echo", "best_of"})
_DECISION_ID: Final = re.compile(r"dec_[0-9a-f]{32}")


def _is_text(value: str) -> str:
    """JSON may escape half a surrogate pair, which nothing can store.

    Raises:
        ValueError: There is one.
    """
    if not value.isascii():
        value.encode()
    return value


_Text = Annotated[str, AfterValidator(_is_text)]


class Feedback(BaseModel):
    """A judgement of an answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    decision_id: _Text
    """From the answer's `x-pointsman-decision` header."""
    quality: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    """From 0 (useless) to 1 (as good as can be)."""
    rating: Literal["up", "down"] | None = None
    """In place of `quality`: up is 1, down is 0."""
    comment: Annotated[_Text, Field(max_length=2000)] | None = None
    """Anything people should know."""


def decisions(runtime: Runtime) -> APIRouter:
    """The endpoints that explain."""
    api = APIRouter(prefix="/v1", tags=["decisions"])

    @api.post(ROUTE.removeprefix("/v1"), summary="The decision alone: every candidate, its estimates and why it lost")
    async def route(request: Request) -> dict[str, Any]:
        """The body is that of a chat, a completion or a Responses request, or `{"prompt": …}`, which is read as a chat.

        `model` may be left out. `GET /v1/decisions/{id}` tells of the decision again.
        """
        headers, caller = dict(request.scope["headers"]), _caller(request)
        if caller.account is not None:
            caller.account.check()
        try:
            body = await read_body(headers, request.receive, runtime.body_limits)
            body, _ = await runtime.resumption.resumed(Endpoint.RESPONSES, body, caller)
            if len(body) < LARGE_BYTES:
                question = runtime.decider.read(_routable(body), caller, headers)
            else:
                arrival = runtime.decider.arrival()
                inbound = await runtime.large_bodies.read_request(caller.tenant, partial(_routable, body))
                read = partial(runtime.decider.read_large, inbound, caller, headers, arrival)
                question = await runtime.large_bodies.read_request(caller.tenant, read)
            routed = await runtime.decider.later(question, wait=False)
        except RequestRefused as refusal:
            count_refused(caller, refusal)
            raise
        runtime.telemetry.decided(routed.decision, routed.hit)
        runtime.ledger.told(caller.tenant, routed.decision)
        return {**decision_to_dict(seen_by(routed.decision, caller.seen)), "cache": routed.hit.value}

    @api.get("/decisions/{decision_id}", summary="A recent decision and what became of it")
    async def decision(decision_id: str, request: Request) -> dict[str, Any]:
        record = None
        if _DECISION_ID.fullmatch(decision_id):
            caller = _caller(request)
            operator = caller.role is Role.OPERATOR
            seen = None if operator else caller.seen
            record = await runtime.ledger.find(caller.tenant, decision_id, any_tenant=operator, seen=seen)
            if record is not None and not operator:
                record = {**record, "outcome": in_whole_ms(record["outcome"])}
        if record is None:
            raise _unknown(decision_id)
        return record

    @api.post("/feedback", summary="Judge the answer to a decision")
    async def feedback(judgement: Feedback, request: Request) -> dict[str, Any]:
        quality = _quality(judgement)
        judged = None
        if _DECISION_ID.fullmatch(judgement.decision_id):
            judged = await runtime.ledger.judge(
                _caller(request).tenant, judgement.decision_id, quality, judgement.comment
            )
        if judged is None:
            raise _unknown(judgement.decision_id)
        if judged.before is None:
            runtime.telemetry.feedback.labels(judged.expert).inc()
            if runtime.learning is not None and judged.lesson is not None:
                runtime.learning.learn(_caller(request).tenant, judged.lesson)
                runtime.telemetry.lessons.labels(judged.expert).inc()
        elif judged.before != quality:
            raise RequestRefused(
                Code.ALREADY_JUDGED,
                f"The decision '{judgement.decision_id}' has been judged already, with {judged.before:g}.",
                param="decision_id",
            )
        return {"object": "pointsman.feedback", "decision_id": judgement.decision_id, "quality": quality}

    return api


def _quality(judgement: Feedback) -> float:
    """The judgement as a figure: exactly one of the two ways to state it."""
    if judgement.quality is not None and judgement.rating is None:
        return judgement.quality
    if judgement.rating is not None and judgement.quality is None:
        return 1.0 if judgement.rating == "up" else 0.0
    code = Code.MISSING_FIELD if judgement.quality is None else Code.INVALID_VALUE
    raise RequestRefused(code, "quality: state either quality or rating", param="quality")


def _routable(body: bytes) -> Inbound:
    """A body of chat, completions or Responses, or just `{"prompt": …}`; `model` may be left out here.

    A prompt by itself is the question of a chat: most experts take nothing else. With a field that only completions
    have, it is a text to complete.
    """
    payload = parse_json(body)
    prompt = payload.get("prompt")
    if (
        isinstance(prompt, str)
        and "messages" not in payload
        and "input" not in payload
        and not _COMPLETES & payload.keys()
    ):
        del payload["prompt"]
        payload["messages"] = [{"role": "user", "content": prompt}]
        body = orjson.dumps(payload)
    endpoint = next((known for field, known in _KNOWN_BY.items() if field in payload), Endpoint.COMPLETIONS)
    if "model" not in payload:
        payload["model"] = AUTO
        body = orjson.dumps(payload)
    return parse_inbound(endpoint, body)


def _caller(request: Request) -> Caller:
    caller: Caller = request.scope[CALLER]
    return caller


def _unknown(decision_id: str) -> RequestRefused:
    return RequestRefused(
        Code.DECISION_NOT_FOUND,
        f"The decision '{decision_id[:80]}' is unknown, or too long ago.",
        param="decision_id",
    )
