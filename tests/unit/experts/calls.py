"""Calls to experts, and what comes back."""

from __future__ import annotations

from typing import Any

import orjson

from pointsman.experts.protocols import Endpoint, Expert, ExpertCall, Headers


def chat(prompt: str = "hello", *, headers: Headers = (), **fields: Any) -> ExpertCall:
    """A chat of one message."""
    payload = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    return ExpertCall("r-1", Endpoint.CHAT, orjson.dumps(payload), payload, bool(fields.get("stream")), headers=headers)


async def read(expert: Expert, call: ExpertCall) -> tuple[int, bytes]:
    """Status and whole body."""
    reply = await expert.call(call)
    try:
        return reply.status, b"".join([piece async for piece in reply])
    finally:
        await reply.aclose()


async def text(expert: Expert, call: ExpertCall) -> str:
    """The text of an answer that is not streamed."""
    status, body = await read(expert, call)
    assert status == 200, body
    content: str = orjson.loads(body)["choices"][0]["message"]["content"]
    return content
