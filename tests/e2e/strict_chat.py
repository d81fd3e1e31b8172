"""A chat server as strict as OpenAI's own: 400 for a field that it does not know, and for a value of the wrong form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from pointsman.experts.http1.server import ServerExchange, serve

_NAMES = (
    "messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort "
    "response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice "
    "tools top_logprobs top_p user verbosity web_search_options"
)
_FIELDS = frozenset(_NAMES.split())
_OF_TURNS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "audio"},
    "tool": {"role", "content", "tool_call_id"},
}
_PARTS = {"text": {"type", "text"}, "image_url": {"type", "image_url"}}


def wrong(asked: dict[str, Any]) -> Iterator[str]:
    """What such a server would refuse."""
    yield from sorted(set(asked) - _FIELDS)
    if len(asked.get("user") or "") > 64:
        yield "user"
    if asked.get("reasoning_effort") not in (None, "minimal", "low", "medium", "high"):
        yield "reasoning_effort"
    if asked.get("verbosity") not in (None, "low", "medium", "high"):
        yield "verbosity"
    if "stream_options" in asked and not asked.get("stream"):
        yield "stream_options"
    if ("tool_choice" in asked or "parallel_tool_calls" in asked) and not asked.get("tools"):
        yield "tool_choice"
    for index, tool in enumerate(asked.get("tools") or []):
        function = tool.get("function") or {}
        known = set(function) <= {"name", "description", "parameters", "strict"}
        if set(tool) != {"type", "function"} or tool["type"] != "function" or not known:
            yield f"tools[{index}]"
    yield from _wrong_turns(asked["messages"])


def _wrong_turns(turns: list[dict[str, Any]]) -> Iterator[str]:
    waiting: set[str] = set()
    for index, turn in enumerate(turns):
        at, content = f"messages[{index}]", turn.get("content")
        if turn.get("role") not in _OF_TURNS or not set(turn) <= _OF_TURNS[turn["role"]]:
            yield at
        if content is None and not turn.get("tool_calls"):
            yield f"{at}.content"
        for part in content if isinstance(content, list) else ():
            if part.get("type") not in _PARTS or set(part) != _PARTS[part["type"]]:
                yield f"{at}.content"
        if turn["role"] == "tool":
            if turn["tool_call_id"] not in waiting:
                yield f"{at}.tool_call_id"
            waiting.discard(turn["tool_call_id"])
        elif waiting:
            yield f"{at}: calls without an answer"
        for call in turn.get("tool_calls") or ():
            if set(call) != {"id", "type", "function"} or set(call["function"]) != {"name", "arguments"}:
                yield f"{at}.tool_calls"
            orjson.loads(call["function"]["arguments"])
            waiting.add(call["id"])


@dataclass
class StrictChat:
    """Says one message, and keeps what it was asked."""

    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": "Done."})
    asked: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def expert(self, **fields: Any) -> dict[str, Any]:
        """Its settings."""
        able = ["chat", "streaming", "tools", "vision", "json_schema"]
        address = f"http://127.0.0.1:{self.port}/v1"
        return {
            "name": "strict", "backend": "openai_http", "model": "gpt-5", "base_url": address, "capabilities": able,
            "generalist": True, **fields,
        }  # fmt: skip

    def handle(self, exchange: ServerExchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request."""
        if exchange.method == "GET":
            exchange.respond(200, (), b"{}")
            return None
        asked = orjson.loads(exchange.body)
        self.asked.append(asked)
        head = ((b"content-type", b"application/json"),)
        if found := list(wrong(asked)):
            error = {"message": f"Invalid: {found}", "type": "invalid_request_error", "param": found[0], "code": None}
            exchange.respond(400, head, orjson.dumps({"error": error}))
            return None
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        base = {"id": "c", "created": 1, "model": asked["model"]}
        ends = "tool_calls" if self.message.get("tool_calls") else "stop"
        if asked.get("stream"):
            return self._stream(exchange, base, ends, usage)
        choice = {"index": 0, "message": self.message, "finish_reason": ends}
        whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        exchange.respond(200, head, orjson.dumps(whole))
        return None

    async def _stream(self, exchange: ServerExchange, base: dict[str, Any], ends: str, usage: dict[str, int]) -> None:
        exchange.begin(200, ((b"content-type", b"text/event-stream"),))
        calls = self.message.get("tool_calls") or []
        delta = {**self.message, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
        for choices, counted in (
            ([{"index": 0, "delta": delta, "finish_reason": None}], None),
            ([{"index": 0, "delta": {}, "finish_reason": ends}], None),
            ([], usage),
        ):
            chunk = {**base, "object": "chat.completion.chunk", "choices": choices, "usage": counted}
            await exchange.send(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await exchange.send(b"data: [DONE]\n\n")
        exchange.end()


@asynccontextmanager
async def strict_chat(message: dict[str, Any] | None = None) -> AsyncIterator[StrictChat]:
    """Listen until the block ends."""
    chat = StrictChat() if message is None else StrictChat(message)
    server = await serve(chat.handle)
    chat.port = int(server.sockets[0].getsockname()[1])
    try:
        yield chat
    finally:
        server.close()
