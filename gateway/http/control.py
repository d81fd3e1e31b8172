"""The control plane: a FastAPI app for everything that is not the hot path, with errors in OpenAI's shape."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pointsman.experts.protocols import Headers
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.asgi import ASGIApp, ClientDisconnect, Message, Receive, Scope, Send
from pointsman.gateway.http.endpoints.answering import describe_answering
from pointsman.gateway.http.endpoints.decisions import ROUTE, decisions
from pointsman.gateway.http.endpoints.models import models
from pointsman.gateway.http.endpoints.operations import operations
from pointsman.gateway.http.endpoints.responses import responses
from pointsman.gateway.runtime import Runtime
from pointsman.gateway.wire.paths import nearest
from pointsman.gateway.wire.refusal_shape import refusal_body

_log = logging.getLogger(__name__)

#: Of a body that is no request for an expert.
_MOST_BYTES: Final = 64 * 1024
_HTTP_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.BODY_TOO_LARGE}


class _SmallBodies:
    """Ends the reading of a body that is larger than any of the control plane's is.

    Args:
        app: What reads it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        came = 0

        async def bounded() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > _MOST_BYTES:
                raise HTTPException(413, f"the body is larger than {_MOST_BYTES} bytes")
            return message

        large = scope["type"] != "http" or scope["path"] == ROUTE
        await self._app(scope, receive if large else bounded, send)


def create_control(runtime: Runtime) -> FastAPI:
    """The control plane over a runtime."""
    app = FastAPI(
        title="Pointsman",
        version=version("pointsman"),
        summary="A model-level router and compound-AI gateway.",
        description="One endpoint for many models: `auto` chooses the expert, within the budgets stated.",
        # They would lead wherever the Host header of a request says.
        redirect_slashes=False,
    )
    app.include_router(operations(runtime))
    app.include_router(models(runtime))
    app.include_router(decisions(runtime))
    app.include_router(responses(runtime))
    describe_answering(app)
    app.add_middleware(_SmallBodies)

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, refusal: RequestRefused) -> Response:
        runtime.telemetry.refusals.labels(refusal.code.value).inc()
        headers = {name.decode(): value.decode() for name, value in refusal.headers()}
        return Response(refusal_body(refusal, request.url.path), status_code=refusal.status, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return await refused(request, RequestRefused(Code.INVALID_JSON, "The body is not valid JSON."))
        field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        code = Code.MISSING_FIELD if first["type"] == "missing" else Code.INVALID_VALUE
        return await refused(request, RequestRefused(code, f"{field}: {first['msg']}", param=field or None))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _HTTP_CODES.get(error.status_code, Code.INVALID_VALUE)
        path, hint = request.url.path, ""
        notes: Headers = ()
        allowed = (error.headers or {}).get("Allow")
        if error.status_code == 404 and (meant := nearest(path)) is not None:
            hint = f" Did you mean {meant}?"
        if allowed is not None:
            methods = [*allowed.split(", "), "HEAD"] if "GET" in allowed else [allowed]
            notes = ((b"allow", ", ".join(methods).encode()),)
        return await refused(request, RequestRefused(code, f"{path}: {error.detail}.{hint}", notes=notes))

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, __: ClientDisconnect) -> Response:
        runtime.telemetry.disconnects.inc()
        return Response(status_code=499)

    return app
