"""Probes and metrics: `GET /health`, `GET /ready`, `GET /metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pointsman.gateway.http.readiness import readiness
from pointsman.gateway.runtime import Runtime


def operations(runtime: Runtime) -> APIRouter:
    """The endpoints of the orchestrator and the scraper."""
    api = APIRouter(tags=["operations"])

    @api.get("/health", summary="The process is alive")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/ready", summary="Requests can be answered; to operators, what stands in the way")
    async def ready(request: Request) -> JSONResponse:
        keyring = runtime.access.keyring
        # Without keys there are no operators to tell apart; then whoever is on this machine may know.
        inside = keyring.knows_operator(dict(request.scope["headers"])) or (
            keyring.open_to_all and runtime.settings.server.loopback
        )
        status, body = await readiness(runtime, inside=inside)
        return JSONResponse(body, status_code=status)

    @api.get("/metrics", summary="Prometheus exposition", response_class=Response)
    async def metrics() -> Response:
        view = runtime.pool.snapshot()
        here = runtime.pool.in_flight()
        rows = [(spec.name, here[spec.name], state.healthy) for spec, state in view.entries]
        return Response(runtime.telemetry.render(rows), media_type=CONTENT_TYPE_LATEST)

    return api
