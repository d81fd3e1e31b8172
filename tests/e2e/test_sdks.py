"""What applications see with litellm's SDK, and with the less usual calls of OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.running import Running, eventually, pool_of_fakes, running

CODE = "Write a Python function that reverses a linked list."
ASKED: list[Any] = [{"role": "user", "content": CODE}]
SAID = f"fake-code says: {CODE}"
ABLE = ["chat", "completions", "streaming", "tools", "json_schema"]
ORDER = {
    "type": "function",
    "function": {
        "name": "place_order",
        "parameters": {
            "type": "object",
            "properties": {"pieces": {"type": "integer"}, "what": {"type": "string"}},
            "required": ["pieces", "what"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Order(BaseModel):
    """An order."""

    pieces: int
    what: str


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    experts = [{**expert, "capabilities": ABLE} for expert in pool_of_fakes()]
    async with running({"pool": {"experts": experts}}) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def litellm() -> ModuleType:
    """Imported late: it looks at the environment as it is imported."""
    import litellm

    return litellm


def at(gateway: Running, **fields: Any) -> dict[str, Any]:
    """Arguments of litellm's calls."""
    return {
        "model": "openai/auto",
        "messages": ASKED,
        "api_base": f"{gateway.url}/v1",
        "api_key": "none",
        "max_retries": 0,
        **fields,
    }


async def test_litellm_without_asyncio(gateway: Running, litellm: ModuleType) -> None:
    answer = await asyncio.to_thread(litellm.completion, **at(gateway))
    assert (answer.choices[0].message.content, answer.model) == (SAID, "fake-code")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    headers = answer._hidden_params["additional_headers"]
    assert headers["llm_provider-x-pointsman-expert"] == "fake-code"

    def streamed() -> list[Any]:
        return list(litellm.completion(**at(gateway), stream=True, stream_options={"include_usage": True}))

    chunks = await asyncio.to_thread(streamed)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert [chunk.usage.total_tokens for chunk in chunks if getattr(chunk, "usage", None)] == [
        answer.usage.total_tokens
    ]


async def test_litellm_with_asyncio(gateway: Running, litellm: ModuleType) -> None:
    answer = await litellm.acompletion(**at(gateway))
    assert answer.choices[0].message.content == SAID
    stream = await litellm.acompletion(**at(gateway), stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == SAID


async def test_litellm_tools_and_schemas(gateway: Running, litellm: ModuleType) -> None:
    asked = [{"role": "user", "content": "I want 12 eggs."}]
    answer = await litellm.acompletion(**at(gateway, messages=asked, tools=[ORDER], tool_choice="required"))
    call = answer.choices[0].message.tool_calls[0].function
    assert (call.name, Order.model_validate_json(call.arguments).pieces) == ("place_order", 12)
    answer = await litellm.acompletion(**at(gateway, messages=asked, response_format=Order))
    assert Order.model_validate_json(answer.choices[0].message.content).pieces == 12


async def test_litellm_sees_a_refusal_as_what_it_is(gateway: Running, litellm: ModuleType) -> None:
    # It makes a 400 of OpenAI's 422.
    with pytest.raises(litellm.BadRequestError, match=r"routing\.max_energy_j"):
        await litellm.acompletion(**at(gateway), extra_body={"routing": {"max_energy_j": 0.05}})
    with pytest.raises(litellm.NotFoundError):
        await litellm.acompletion(**at(gateway, model="openai/nobody"))


async def test_openais_parse_gives_an_object(client: openai.AsyncOpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": "I want 12 eggs."}]
    answer = await client.chat.completions.parse(model="auto", messages=asked, response_format=Order)
    assert answer.choices[0].message.parsed == Order(pieces=12, what="I want 12 eggs.")
    tools: Any = [openai.pydantic_function_tool(Order, name="place_order")]
    answer = await client.chat.completions.parse(model="auto", messages=asked, tools=tools, tool_choice="required")
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.parsed_arguments == Order(pieces=12, what="I want 12 eggs.")
    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(model="auto", messages=asked, response_format=Order, max_tokens=2)


async def test_openais_stream_helper_gathers_text_calls_and_usage(client: openai.AsyncOpenAI) -> None:
    options: Any = {"include_usage": True}
    async with client.chat.completions.stream(model="auto", messages=ASKED, stream_options=options) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        whole = await stream.get_final_completion()
    assert "".join(deltas) == whole.choices[0].message.content == SAID
    assert whole.usage is not None
    tools: Any = [ORDER]
    asked: Any = [{"role": "user", "content": "place_order: 12 eggs"}]
    async with client.chat.completions.stream(model="auto", messages=asked, tools=tools) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    assert final.choices[0].finish_reason == "tool_calls"


async def test_openais_raw_and_streamed_responses_show_our_headers(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=ASKED, stream=True)
    assert raw.headers["x-pointsman-expert"] == "fake-code"
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse() if chunk.choices])
    assert text == SAID
    asked = client.chat.completions.with_streaming_response.create(model="auto", messages=ASKED)
    async with asked as response:
        assert response.headers["x-pointsman-decision"].startswith("dec_")
        assert (await response.parse()).choices[0].message.content == SAID


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_ends_at_the_expert(stream: bool) -> None:
    experts = pool_of_fakes(completion_tokens=500, tokens_per_s=50.0)
    async with (
        running({"pool": {"experts": experts}}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        stats = gateway.fake("fake-code").stats

        async def ask() -> None:
            answer: Any = await client.chat.completions.create(model="auto", messages=ASKED, stream=stream)
            async for _ in answer:
                pass

        task = asyncio.create_task(ask())
        await eventually(lambda: stats.started == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: stats.cancelled == 1)
