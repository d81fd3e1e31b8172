"""The endpoints that experts answer, for the OpenAPI document only. Requests to them never reach the FastAPI app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import TABLE
from pointsman.gateway.wire.paths import PATHS, is_anthropic

#: Endpoint -> (what it is, the fields that must be there beside `model`).
_DESCRIBED: Final[Mapping[Endpoint, tuple[str, Mapping[str, Mapping[str, Any]]]]] = {
    Endpoint.CHAT: ("Chat completions (OpenAI)", {"messages": {"type": "array", "items": {"type": "object"}}}),
    Endpoint.COMPLETIONS: ("Text completions (OpenAI)", {"prompt": {}}),
    Endpoint.RESPONSES: ("Responses (OpenAI)", {"input": {}}),
    Endpoint.MESSAGES: (
        "Messages (Anthropic)",
        {
            "max_tokens": {"type": "integer", "minimum": 1},
            "messages": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        },
    ),
    Endpoint.COUNT_TOKENS: (
        "Tokens of a Messages request, estimated where no expert counts them",
        {"messages": {"type": "array", "items": {"type": "object"}, "minItems": 1}},
    ),
    Endpoint.EMBEDDINGS: ("Embeddings (OpenAI)", {"input": {}}),
    Endpoint.RERANK: ("Documents in the order of their use for a query", {"query": {}, "documents": {}}),
    Endpoint.SCORE: ("Scores of pairs of texts", {"text_1": {}, "text_2": {}}),
}
_STATUSES: Final = sorted({row.status for row in TABLE.values()})


def describe_answering(app: FastAPI) -> None:
    """Add the endpoints to an app's OpenAPI document.

    Args:
        app: The app, with all of its own routes.
    """
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document["paths"].update({path: {"post": _operation(path, endpoint)} for path, endpoint in PATHS.items()})
        return document

    # As FastAPI's own documentation extends a document.
    app.openapi = openapi  # type: ignore[method-assign]


def _operation(path: str, endpoint: Endpoint) -> dict[str, Any]:
    summary, fields = _DESCRIBED[endpoint]
    model = {"type": "string", "minLength": 1, "description": "`auto`, or an expert's name"}
    schema = {
        "type": "object",
        "required": ["model", *fields],
        "properties": {"model": model, **fields},
        "additionalProperties": True,
    }
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if endpoint.writes:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    api = "Anthropic's" if is_anthropic(path) else "OpenAI's"
    refusal = {
        "description": f"An error in {api} shape",
        "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
    }
    return {
        "tags": ["answers"],
        "summary": summary,
        "operationId": "post_" + path.strip("/").replace("/", "_"),
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "The expert's answer", "content": content},
            **{str(status): refusal for status in _STATUSES},
        },
    }
