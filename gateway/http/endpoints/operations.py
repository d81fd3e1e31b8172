"""Probes and metrics: `GET /health`, `GET /ready`, `GET /metrics`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pointsman.gateway.runtime import Runtime


def operations(runtime: Runtime) -> APIRouter:
    """The endpoints of the orchestrator and the scraper."""
    api = APIRouter(tags=["operations"])

    @api.get("/health", summary="The process is alive")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/ready", summary="Requests can be answered")
    async def ready() -> JSONResponse:
        view = runtime.pool.snapshot()
        experts = {spec.name: "ok" if state.healthy else state.detail or "unhealthy" for spec, state in view.entries}
        serving = any(state.healthy and state.awake for _, state in view.entries)
        # Redis is reported, not required: requests succeed without it.
        redis = "off" if runtime.store is None else "ok" if await runtime.store.ping() else "unreachable"
        body: dict[str, Any] = {
            "status": "ready" if serving else "no expert is healthy",
            "experts": experts,
            "redis": redis,
        }
        body["settings"] = runtime.configuration.to_dict()
        return JSONResponse(body, status_code=200 if serving else 503)

    @api.get("/metrics", summary="Prometheus exposition", response_class=Response)
    async def metrics() -> Response:
        view = runtime.pool.snapshot()
        here = runtime.pool.in_flight()
        rows = [(spec.name, here[spec.name], state.healthy) for spec, state in view.entries]
        return Response(runtime.telemetry.render(rows), media_type=CONTENT_TYPE_LATEST)

    return api
