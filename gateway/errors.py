"""Every error a client can see, in one table, in OpenAI's shape.

`{"error": {"message", "type", "param", "code"}}` is what OpenAI's SDKs parse; `reason` is ours and enumerated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

from pointsman.experts.errors import (
    ExpertError,
    ExpertMisconfigured,
    ExpertProtocolError,
    ExpertSaturated,
    ExpertStreamBroken,
    ExpertTimeout,
    ExpertUnavailable,
)
from pointsman.experts.protocols import Headers

#: The status recorded when the client left; nobody receives it.
CLIENT_LEFT: Final = 499


class Code(StrEnum):
    """Machine-readable error codes."""

    INVALID_JSON = "invalid_json"
    INVALID_VALUE = "invalid_value"
    MISSING_FIELD = "missing_field"
    INVALID_BUDGET = "invalid_budget"
    UNKNOWN_FLAG = "unknown_flag"
    BUDGET_INFEASIBLE = "budget_infeasible"
    NO_CAPABLE_EXPERT = "no_capable_expert"
    POOL_BUSY = "pool_busy"
    SHUTTING_DOWN = "shutting_down"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    MODEL_NOT_FOUND = "model_not_found"
    DECISION_NOT_FOUND = "decision_not_found"
    ID_NOT_FOUND = "id_not_found"
    PREVIOUS_RESPONSE_NOT_FOUND = "previous_response_not_found"
    THREAD_NOT_FOUND = "thread_not_found"
    THREAD_UNSUPPORTED = "thread_unsupported_request"
    ALREADY_JUDGED = "already_judged"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    INVALID_API_KEY = "invalid_api_key"
    NOT_PERMITTED = "not_permitted"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    EXPERT_UNAVAILABLE = "expert_unavailable"
    EXPERT_TIMEOUT = "expert_timeout"
    EXPERT_BAD_ANSWER = "expert_bad_answer"
    EXPERT_STREAM_BROKEN = "expert_stream_broken"
    EXPERT_MISCONFIGURED = "expert_misconfigured"
    INTERNAL = "internal_error"


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    type: str


_CLIENT = "invalid_request_error"
_SERVER = "server_error"

#: code -> (HTTP status, OpenAI's error type). Total over `Code`; a test holds it so.
TABLE: dict[Code, _Row] = {
    Code.INVALID_JSON: _Row(400, _CLIENT),
    Code.INVALID_VALUE: _Row(400, _CLIENT),
    Code.MISSING_FIELD: _Row(400, _CLIENT),
    Code.INVALID_BUDGET: _Row(400, _CLIENT),
    Code.UNKNOWN_FLAG: _Row(400, _CLIENT),
    Code.BUDGET_INFEASIBLE: _Row(422, _CLIENT),
    Code.NO_CAPABLE_EXPERT: _Row(422, _CLIENT),
    Code.POOL_BUSY: _Row(503, "overloaded_error"),
    Code.SHUTTING_DOWN: _Row(503, "overloaded_error"),
    Code.DEADLINE_EXCEEDED: _Row(504, "timeout_error"),
    Code.MODEL_NOT_FOUND: _Row(404, _CLIENT),
    Code.DECISION_NOT_FOUND: _Row(404, _CLIENT),
    Code.ID_NOT_FOUND: _Row(404, _CLIENT),
    # As OpenAI and Anthropic answer it: their SDKs know how to go on from these.
    Code.PREVIOUS_RESPONSE_NOT_FOUND: _Row(400, _CLIENT),
    Code.THREAD_NOT_FOUND: _Row(404, _CLIENT),
    Code.THREAD_UNSUPPORTED: _Row(400, _CLIENT),
    Code.ALREADY_JUDGED: _Row(409, _CLIENT),
    Code.NOT_FOUND: _Row(404, _CLIENT),
    Code.METHOD_NOT_ALLOWED: _Row(405, _CLIENT),
    Code.BODY_TOO_LARGE: _Row(413, _CLIENT),
    Code.UNSUPPORTED_ENCODING: _Row(415, _CLIENT),
    Code.INVALID_API_KEY: _Row(401, "authentication_error"),
    Code.NOT_PERMITTED: _Row(403, "permission_error"),
    Code.MODEL_NOT_ALLOWED: _Row(403, "permission_error"),
    Code.RATE_LIMIT_EXCEEDED: _Row(429, "rate_limit_error"),
    Code.INSUFFICIENT_QUOTA: _Row(429, "insufficient_quota"),
    Code.EXPERT_UNAVAILABLE: _Row(502, _SERVER),
    Code.EXPERT_TIMEOUT: _Row(504, _SERVER),
    Code.EXPERT_BAD_ANSWER: _Row(502, _SERVER),
    Code.EXPERT_STREAM_BROKEN: _Row(502, _SERVER),
    Code.EXPERT_MISCONFIGURED: _Row(500, _SERVER),
    Code.INTERNAL: _Row(500, _SERVER),
}


class RequestRefused(Exception):
    """The request gets an error instead of an answer.

    Args:
        code: Which row of the table.
        message: What is wrong, in a sentence for the client.
        param: The field at fault, as a path (`routing.max_energy_j`, `messages[2].role`).
        reason: The enumerated rule behind it, for the `x-pointsman-reason` header.
        retry_after_s: If load is the only reason.
        decision_id: The decision that refused, where there is one.
        notes: Further response headers.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        param: str | None = None,
        reason: str | None = None,
        retry_after_s: float | None = None,
        decision_id: str | None = None,
        notes: Headers = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = _writable(message)
        self.param = None if param is None else _writable(param)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.decision_id = decision_id
        self.notes = notes

    @property
    def status(self) -> int:
        """HTTP status of the table's row."""
        return TABLE[self.code].status

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Our headers on the error response."""
        headers = [(b"content-type", b"application/json")]
        if self.reason is not None:
            headers.append((b"x-pointsman-reason", self.reason.encode()))
        if self.decision_id is not None:
            headers.append((b"x-pointsman-decision", self.decision_id.encode()))
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        headers.extend(self.notes)
        return headers

    def body(self) -> bytes:
        """The JSON body in OpenAI's shape."""
        error: dict[str, object] = {
            "message": self.message,
            "type": TABLE[self.code].type,
            "param": self.param,
            "code": self.code.value,
        }
        if self.reason is not None:
            error["reason"] = self.reason
        return orjson.dumps({"error": error})

    def event(self) -> bytes:
        """The same as a server-sent event, for a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"


def _writable(text: str) -> str:
    """A text that quotes a client, who may write half a surrogate pair, which is no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def invalid_budget(field: str, message: str) -> RequestRefused:
    """The caller's budget or routing options are malformed in one field."""
    return RequestRefused(Code.INVALID_BUDGET, f"{field}: {message}", param=field)


def shutting_down() -> RequestRefused:
    """A request outlasted the time that a stopping gateway gives; another replica may answer it."""
    return RequestRefused(Code.SHUTTING_DOWN, "The gateway is shutting down.", retry_after_s=1.0)


#: Most specific first; the last row catches the rest of the tree.
_EXPERT_CODES: tuple[tuple[type[ExpertError], Code], ...] = (
    (ExpertTimeout, Code.EXPERT_TIMEOUT),
    (ExpertSaturated, Code.POOL_BUSY),
    (ExpertUnavailable, Code.EXPERT_UNAVAILABLE),
    (ExpertProtocolError, Code.EXPERT_BAD_ANSWER),
    (ExpertStreamBroken, Code.EXPERT_STREAM_BROKEN),
    (ExpertMisconfigured, Code.EXPERT_MISCONFIGURED),
    (ExpertError, Code.EXPERT_UNAVAILABLE),
)


def refusal_for(error: ExpertError, decision_id: str | None = None) -> RequestRefused:
    """What the client sees of an expert's failure: its name and the kind of failure, never addresses or bodies."""
    code = next(code for kind, code in _EXPERT_CODES if isinstance(error, kind))
    retry_after_s = None
    if isinstance(error, ExpertSaturated):
        retry_after_s = error.retry_after_s if error.retry_after_s is not None else 1.0
    sentence = {
        Code.EXPERT_TIMEOUT: "did not answer in time",
        Code.POOL_BUSY: "is saturated",
        Code.EXPERT_UNAVAILABLE: "could not be reached",
        Code.EXPERT_BAD_ANSWER: "gave an answer that could not be read",
        Code.EXPERT_STREAM_BROKEN: "broke off its answer",
        Code.EXPERT_MISCONFIGURED: "is not configured correctly; see the gateway's log",
    }[code]
    return RequestRefused(
        code,
        f"Expert '{error.expert}' {sentence}.",
        reason=code.value,
        retry_after_s=retry_after_s,
        decision_id=decision_id,
    )
