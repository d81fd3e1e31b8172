"""Errors in Anthropic's shape: `{"type": "error", "error": {"type", "message"}}`."""

from __future__ import annotations

from typing import Any, Final

import orjson

from pointsman.gateway.errors import Code, RequestRefused

#: As Anthropic's API reference lists them by status.
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

#: Anthropic's SDKs go on by themselves after these: with a new thread, or without one.
_RECOVERABLE: Final = frozenset({Code.THREAD_NOT_FOUND, Code.THREAD_UNSUPPORTED})


def error_document(status: int, message: str) -> dict[str, Any]:
    """An error as Anthropic's API words it."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def error_body(refusal: RequestRefused) -> bytes:
    """A refusal as a body; what OpenAI's shape says beside the message is kept."""
    document = error_document(refusal.status, refusal.message)
    hedged_with = {"param": refusal.param, "code": refusal.code.value, "reason": refusal.reason}
    document["error"] |= {name: value for name, value in hedged_with.items() if value is not None}
    if refusal.code in _RECOVERABLE:
        document["error"]["details"] = {"error_code": refusal.code.value}
    return orjson.dumps(document)


def error_event(refusal: RequestRefused) -> bytes:
    """The same for a stream that has begun."""
    return b"event: error\ndata: " + error_body(refusal) + b"\n\n"
