"""A refusal in the error format of the endpoint's API."""

from __future__ import annotations

from typing import Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.messages import errors as anthropic
from pointsman.gateway.wire.paths import PATHS, is_anthropic

#: Of whatever is written here.
JSON_TYPE: Final = (b"content-type", b"application/json")
EVENTS_TYPE: Final = (b"content-type", b"text/event-stream; charset=utf-8")


def refusal_body(refusal: RequestRefused, path: str) -> bytes:
    """An error instead of an answer.

    Args:
        refusal: The error.
        path: Of the request, whether anything is there or not.
    """
    return anthropic.error_body(refusal) if is_anthropic(path) else refusal.body()


def refusal_event(refusal: RequestRefused, endpoint: Endpoint) -> bytes:
    """The event that ends a stream which cannot continue."""
    if endpoint is Endpoint.MESSAGES:
        return anthropic.error_event(refusal)
    if endpoint is Endpoint.RESPONSES:
        return _responses_error_event(refusal)
    return refusal.event()


def _responses_error_event(refusal: RequestRefused) -> bytes:
    """The `error` event of a Responses stream; without a number, since the events before it were not ours to count."""
    fields: dict[str, object] = {
        "type": "error",
        "code": refusal.code.value,
        "message": refusal.message,
        "param": refusal.param,
    }
    return b"event: error\ndata: " + orjson.dumps(fields) + b"\n\n"


def path_of(endpoint: Endpoint) -> str:
    """The path that an endpoint is best known by."""
    return next(path for path, one in PATHS.items() if one is endpoint)
