"""litellm's objects as OpenAI's bytes. This module knows their structure and imports nothing of litellm."""

from __future__ import annotations

import base64
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, cast

from pointsman.experts.backends.openai_wire import DONE, SSE_HEADERS, event
from pointsman.experts.protocols import Endpoint, Headers

#: Fields that OpenAI's shape has even when they are null.
_NULLABLE = ("finish_reason", "logprobs")


class WholeReply:
    """An answer that is here already."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = (*headers, (b"content-length", str(len(body)).encode()))
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, in one piece."""
        yield self._body

    async def aclose(self) -> None:
        """Nothing to let go of."""


class EventReply:
    """A stream of chunks as server-sent events.

    Args:
        chunks: The chunks as plain objects.
        source: litellm's own stream, closed when the reader leaves.
        with_usage: Whether the caller asked for the chunk with the token counts.
    """

    def __init__(self, chunks: AsyncIterator[dict[str, Any]], source: Any, *, with_usage: bool) -> None:
        self.status = 200
        self.headers: Headers = SSE_HEADERS
        self._source = source
        self._with_usage = with_usage
        self._chunks = cast("AsyncGenerator[dict[str, Any], None]", chunks)
        self._events = self._iterate()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events

    async def aclose(self) -> None:
        """Close the connection to the provider. Idempotent."""
        await self._events.aclose()
        await self._chunks.aclose()
        # The wrapper of a text completion has no aclose of its own, but holds a stream that has.
        for stream in (self._source, getattr(self._source, "completion_stream", None)):
            close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
            if close is not None:
                await close()
                return

    async def _iterate(self) -> AsyncGenerator[bytes, None]:
        counted: dict[str, Any] | None = None
        async for chunk in self._chunks:
            # litellm sends the token counts with or after the last choice, and sometimes unasked.
            if chunk.get("usage"):
                counted = {**chunk, "choices": []}
            if any(map(_says_something, chunk["choices"])):
                yield event({name: value for name, value in chunk.items() if name != "usage"})
        if counted is not None and self._with_usage:
            yield event(counted)
        yield DONE


def compact(data: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """One object of litellm in OpenAI's shape: without litellm's own fields and without its nulls.

    Args:
        data: A response or a chunk, dumped.
        endpoint: Which shape.
    """
    choices = [_choice(choice, endpoint) for choice in data.get("choices") or ()]
    usage = _without_nulls(data.get("usage"))
    shaped = {
        "id": data.get("id"),
        "object": data.get("object"),
        "created": data.get("created"),
        "model": data.get("model"),
        "choices": choices,
    }
    for name in ("system_fingerprint", "service_tier"):
        if data.get(name) is not None:
            shaped[name] = data[name]
    if usage is not None:
        shaped["usage"] = usage
    return shaped


def vectors(data: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Embeddings of litellm in OpenAI's shape, with their numbers written as the client asks for them.

    Args:
        data: The response, dumped.
        payload: The request.
    """
    shaped = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(one.get("embedding"), payload)}
            for index, one in enumerate(data.get("data") or ())
        ],
        "model": data.get("model"),
    }
    usage = _without_nulls(data.get("usage"))
    return shaped if usage is None else {**shaped, "usage": usage}


def _vector(vector: Any, payload: Mapping[str, Any]) -> Any:
    if payload.get("encoding_format") == "base64" and isinstance(vector, list):
        return base64.b64encode(array("f", vector).tobytes()).decode()
    return vector


def _choice(choice: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    shaped: dict[str, Any] = {"index": choice.get("index", 0)}
    if endpoint is Endpoint.COMPLETIONS:
        shaped["text"] = choice.get("text") or ""
    for name in ("message", "delta"):
        if isinstance(choice.get(name), Mapping):
            content = _without_nulls({**choice[name], "provider_specific_fields": None}) or {}
            if name == "message":
                content.setdefault("content", None)
            shaped[name] = content
    for name in _NULLABLE:
        shaped[name] = choice.get(name)
    return shaped


def _says_something(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("text") or choice.get("delta") or choice.get("message") or choice.get("finish_reason"))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
