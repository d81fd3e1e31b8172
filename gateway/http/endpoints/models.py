"""`GET /v1/models`: the experts, and `auto`, in a shape that is OpenAI's and Anthropic's at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from pointsman.experts.spec import ExpertSpec
from pointsman.gateway.access.caller import CALLER, Caller
from pointsman.gateway.deciding.eligibility import may_ask, names_of
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.runtime import Runtime
from pointsman.gateway.wire.request import AUTO


def models(runtime: Runtime) -> APIRouter:
    """The endpoints that list what may be asked for."""
    api = APIRouter(prefix="/v1/models", tags=["models"])

    def listing(request: Request) -> list[dict[str, Any]]:
        caller: Caller = request.scope[CALLER]
        auto = _model(AUTO, "The expert that suits the prompt, within the budgets stated.")
        aliases, pool = runtime.decider.aliases, runtime.pool
        names = names_of(pool, caller.experts, aliases)
        return [auto, *(_expert(pool[name].spec) if name in pool else _alias(name) for name in names)]

    def described(name: str, request: Request) -> dict[str, Any] | None:
        """What is listed, and what an alias with a `*` stands for."""
        listed = next((model for model in listing(request) if model["id"] == name), None)
        caller: Caller = request.scope[CALLER]
        aliases = runtime.decider.aliases
        alias = None if listed else aliases.find(name, runtime.pool)
        return listed if alias is None or not may_ask(alias, caller.experts) else _alias(name)

    @api.get("", summary="List the experts, and `auto`")
    async def list_models(request: Request) -> dict[str, Any]:
        data = listing(request)
        pages = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": False}
        return {"object": "list", "data": data, **pages}

    @api.get("/{name:path}", summary="One of them")
    async def get_model(name: str, request: Request) -> dict[str, Any]:
        if (model := described(name, request)) is not None:
            return model
        raise RequestRefused(Code.MODEL_NOT_FOUND, f"The model '{name}' is not here.", param="model")

    return api


def _model(name: str, card: str) -> dict[str, Any]:
    # Both schemas require a date of release; ours has none, and the epoch is how servers say so.
    openai = {"object": "model", "created": 0, "owned_by": "pointsman"}
    anthropic = {"type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": name, **openai, **anthropic, "description": card}


def _alias(name: str) -> dict[str, Any]:
    # What it stands for may be none of the caller's business.
    return _model(name, "Another name for one or more experts.")


def _expert(spec: ExpertSpec) -> dict[str, Any]:
    price = spec.price
    return {
        **_model(spec.name, spec.card),
        "backend": spec.backend,
        "context_window_tokens": spec.context_window_tokens,
        "capabilities": sorted(spec.capabilities),
        "generalist": spec.generalist,
        "price": None if price is None else {name: one for name, one in asdict(price).items() if one is not None},
    }
