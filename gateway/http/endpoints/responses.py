"""Responses that the gateway keeps: look one up, list what it was asked with, delete it.

The endpoints are `GET` and `DELETE /v1/responses/{id}`, and `GET /v1/responses/{id}/input_items`.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request

from pointsman.gateway.access.caller import CALLER, Caller
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.runtime import Runtime
from pointsman.gateway.wire.turns import items_in, response_in

#: Of one page, as OpenAI's.
_MOST_ITEMS = 100


def responses(runtime: Runtime) -> APIRouter:
    """The endpoints of kept responses."""
    api = APIRouter(prefix="/v1/responses", tags=["responses"])

    async def kept(response_id: str, request: Request) -> bytes:
        caller: Caller = request.scope[CALLER]
        turn = await runtime.resumption.kept(response_id, caller)
        if turn is None:
            raise RequestRefused(Code.ID_NOT_FOUND, f"Response with id '{response_id[:80]}' not found.")
        return turn

    @api.get("/{response_id}", summary="A response that the gateway keeps")
    async def get_response(response_id: str, request: Request) -> dict[str, Any]:
        return response_in(await kept(response_id, request))

    @api.delete("/{response_id}", summary="Forget it")
    async def delete_response(response_id: str, request: Request) -> dict[str, Any]:
        await kept(response_id, request)
        caller: Caller = request.scope[CALLER]
        runtime.resumption.forget(response_id, caller)
        return {"id": response_id, "object": "response", "deleted": True}

    @api.get("/{response_id}/input_items", summary="What it was asked with, the turns before among it")
    async def input_items(
        response_id: str,
        request: Request,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        items = items_in(await kept(response_id, request))
        if order == "desc":
            items.reverse()
        if after is not None:
            at = next((index for index, item in enumerate(items) if item.get("id") == after), len(items) - 1)
            items = items[at + 1 :]
        page = items[: max(1, min(limit, _MOST_ITEMS))]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, **ends, "has_more": len(page) < len(items)}

    return api
