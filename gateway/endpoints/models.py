"""`GET /v1/models`: the experts, and `auto`, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from experts.spec import ExpertSpec
from gateway.errors import Code, RequestRefused
from gateway.runtime import Runtime
from gateway.wire.request import AUTO


def models(runtime: Runtime) -> APIRouter:
    """The endpoints that list what may be asked for."""
    api = APIRouter(prefix="/v1/models", tags=["models"])

    def listing() -> list[dict[str, Any]]:
        auto = _model(AUTO, "The expert that suits the prompt, within the budgets stated.")
        return [auto, *(_expert(spec) for spec, _ in runtime.pool.snapshot().entries)]

    @api.get("", summary="List the experts, and `auto`")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": listing()}

    @api.get("/{name:path}", summary="One of them")
    async def get_model(name: str) -> dict[str, Any]:
        for model in listing():
            if model["id"] == name:
                return model
        raise RequestRefused(Code.MODEL_NOT_FOUND, f"The model '{name}' is not here.", param="model")

    return api


def _model(name: str, card: str) -> dict[str, Any]:
    # `created` is required by OpenAI's schema; ours has no such date, and 0 is how servers say so.
    return {"id": name, "object": "model", "created": 0, "owned_by": "pointsman", "description": card}


def _expert(spec: ExpertSpec) -> dict[str, Any]:
    price = spec.price
    return {
        **_model(spec.name, spec.card),
        "backend": spec.backend,
        "context_window_tokens": spec.context_window_tokens,
        "capabilities": sorted(spec.capabilities),
        "generalist": spec.generalist,
        "price": None
        if price is None
        else {"input_usd_per_mtok": price.input_usd_per_mtok, "output_usd_per_mtok": price.output_usd_per_mtok},
    }
