"""An expert that answers in one piece where a stream was asked for, or the reverse: clients get what they asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.events_of_document import events_of
from tests.e2e.running import Running, running
from tests.e2e.upstream import JSON, Says, upstream

CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "inner",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
COMPLETION = {**CHAT, "object": "text_completion", "choices": [{"index": 0, "text": "hello", "finish_reason": "stop"}]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "inner",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
PART = {"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "inner",
    "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [PART]}],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
DOCUMENTS = {
    Endpoint.CHAT: CHAT,
    Endpoint.COMPLETIONS: COMPLETION,
    Endpoint.MESSAGES: MESSAGE,
    Endpoint.RESPONSES: RESPONSE,
}
USER: Any = [{"role": "user", "content": "hi"}]


@asynccontextmanager
async def gateway(*capabilities: str, streams: bool, kind: str = "text/event-stream") -> AsyncIterator[Running]:
    """An expert that always streams, or never does."""
    answers = {}
    for endpoint, document in DOCUMENTS.items():
        body = events_of(endpoint, orjson.dumps(document)) if streams else orjson.dumps(document)
        answers[endpoint.value.replace("/", "__")] = Says(body or b"", kind if streams else JSON)
    async with (
        upstream(**answers) as server,
        running({"pool": {"experts": [server.expert("ours", "streaming", *capabilities)]}}) as gateway,
    ):
        yield gateway


@pytest.mark.parametrize("capabilities", [("chat", "completions"), ("chat", "messages", "responses")])
async def test_a_stream_of_an_expert_that_answers_in_one_piece(capabilities: tuple[str, ...]) -> None:
    async with gateway(*capabilities, streams=False) as running_gateway:
        chats = openai.AsyncOpenAI(base_url=running_gateway.url + "/v1", api_key="none", max_retries=0)
        chunks = [one async for one in await chats.chat.completions.create(model="ours", messages=USER, stream=True)]
        assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "hello"
        assert {one.model for one in chunks} == {"ours"}
        assert chunks[-1].choices[0].finish_reason == "stop"
        if "completions" in capabilities:
            texts = [one async for one in await chats.completions.create(model="ours", prompt="hi", stream=True)]
            assert "".join(one.choices[0].text for one in texts) == "hello"
        async with chats.responses.stream(model="ours", input="hi") as responses:
            assert (await responses.get_final_response()).output_text == "hello"
        messages = anthropic.AsyncAnthropic(base_url=running_gateway.url, api_key="none", max_retries=0)
        async with messages.messages.stream(model="ours", max_tokens=9, messages=USER) as stream:
            message = await stream.get_final_message()
        assert (message.content[0].text, message.model, message.usage.output_tokens) == ("hello", "ours", 2)


@pytest.mark.parametrize("capabilities", [("chat", "completions"), ("chat", "messages", "responses")])
async def test_a_document_of_an_expert_that_streams(capabilities: tuple[str, ...]) -> None:
    async with gateway(*capabilities, streams=True, kind="Text/Event-Stream; Charset=UTF-8") as running_gateway:
        chats = openai.AsyncOpenAI(base_url=running_gateway.url + "/v1", api_key="none", max_retries=0)
        chat = await chats.chat.completions.create(model="ours", messages=USER)
        assert (chat.choices[0].message.content, chat.model, chat.object) == ("hello", "ours", "chat.completion")
        if "completions" in capabilities:
            assert (await chats.completions.create(model="ours", prompt="hi")).choices[0].text == "hello"
        assert (await chats.responses.create(model="ours", input="hi")).output_text == "hello"
        messages = anthropic.AsyncAnthropic(base_url=running_gateway.url, api_key="none", max_retries=0)
        message = await messages.messages.create(model="ours", max_tokens=9, messages=USER)
        assert (message.content[0].text, message.model) == ("hello", "ours")
