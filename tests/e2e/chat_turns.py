"""Experts that say what a test scripts, a gateway before them, and the SDKs that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import orjson

from tests.e2e.running import Running, Transport, running
from tests.e2e.upstream import EVENTS, Says, Upstream

KEYS = {"KEY_A": "sk-aaaaaaaaaaaaaaaa", "KEY_A2": "sk-aaaaaaaaaaaaaaa2", "KEY_B": "sk-bbbbbbbbbbbbbbbb"}
AUTH = {
    "keys": [
        {"name": "a", "key_env": "KEY_A", "tenant": "ta"},
        {"name": "a2", "key_env": "KEY_A2", "tenant": "ta"},
        {"name": "b", "key_env": "KEY_B", "tenant": "tb"},
    ]
}
CHAT = ("chat", "streaming", "tools")
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def said(text: str | None, *calls: dict[str, Any], thought: str = "") -> Says:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "reasoning_content": thought}
    if calls:
        message["tool_calls"] = list(calls)
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return Says(orjson.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE}))


def streamed(text: str, *calls: dict[str, Any]) -> Says:
    """The same as events, in several pieces."""
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in (text[:2], text[2:]) if piece]
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in (arguments[:5], arguments[5:])
        ]
    documents: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    reason = "tool_calls" if calls else "stop"
    documents.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": USAGE})
    events = [b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", **one}) for one in documents]
    return Says(b"\n\n".join([*events, b"data: [DONE]", b""]), EVENTS)


@asynccontextmanager
async def gateway_before(
    *experts: dict[str, Any], auth: dict[str, Any] | None = None, transport: Transport = "protocol", **settings: Any
) -> AsyncIterator[Running]:
    tree = {"pool": {"probe_interval_s": 0, "experts": list(experts)}, "auth": auth or {}, **settings}
    async with running(tree, KEYS, transport=transport) as gateway:
        yield gateway


def responses_of(gateway: Running, key: str = "KEY_A") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEYS[key], max_retries=0)


def messages_of(gateway: Running, key: str = "KEY_A") -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEYS[key], max_retries=0)


def turns(expert: Upstream) -> list[tuple[str, Any]]:
    """What the expert was asked last."""
    return [(one["role"], one.get("content")) for one in expert.asked[-1].json["messages"]]


async def ask(client: openai.AsyncOpenAI, expert: Upstream, text: str, *, stream: bool = False, **fields: Any) -> Any:
    """The response, after the expert has said `text`."""
    expert.answers["/v1/chat/completions"] = streamed(text) if stream else said(text)
    if not stream:
        return await client.responses.create(**{"model": "auto", **fields})
    async with client.responses.stream(**{"model": "auto", **fields}) as events:
        return await events.get_final_response()
