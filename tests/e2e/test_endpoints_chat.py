"""Whatever a client says to an expert directly, it says through the gateway: bytes in, bytes out, both ways of it."""

from __future__ import annotations

from typing import Any

import aiohttp
import anthropic
import openai
import orjson
import pytest

from tests.e2e.running import Transport, both, fake, pool_of_fakes, running
from tests.e2e.test_endpoints_messages import ask
from tests.e2e.upstream import EVENTS, Says, upstream

ABLE = ("chat", "completions", "streaming", "tools", "vision", "json_schema", "logprobs")
ASKED: dict[str, bytes] = {
    "n": b'"n":3',
    "logprobs": b'"logprobs" : true, "top_logprobs":5',
    "tools": b'"tools":[{"type":"function","function":{"name":"f","parameters":{"x":1.0}}}],"tool_choice":"auto"',
    "structured output": b'"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"a":1e2}}}',
    "unknown fields": b'"chat_template_kwargs":{"thinking":false},"guided_regex":"\\u00e9\\n","x":1234567890123456789',
    "stream options": b'"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}',
    "nulls": b'"temperature":null,"stop":null,"seed":null',
}
TEXT = b'"messages":[ {"role":"user","content":"caf\\u00e9 \xc3\xa9"} ]'
IMAGE = (
    b'"messages":[{"role":"user","content":[{"type":"text","text":"what?"},'
    b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]}]'
)
WHOLE = (
    b'{"id":"c","model":"inner","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9",'
    b'"reasoning_content":"hm","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}],'
    b'"refusal":null,"audio":null},"logprobs":{"content":[{"token":"a","logprob":-1.50}]},"finish_reason":"stop",'
    b'"stop_reason":128009},{"index":1}], "usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,'
    b'"prompt_tokens_details":{"cached_tokens":1}},"kv_transfer_params":null,"unknown":[1.0e3]}'
)
STREAM = (
    b': keep-alive\n\ndata: {"id":"c","model":"inner","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    b'data: {"id":"c","model":"inner","choices":[{"index":1,"delta":{"reasoning_content":"\xc3\xa9"},'
    b'"logprobs":{"content":[]}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    b'data: {"id":"c","model":"inner","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t",'
    b'"function":{"name":"f","arguments":"{\\"model\\": 1}"}}]}}]}\r\n\r\n'
    b'event: custom\nid: 7\nretry: 10\ndata: {"anything":true}\n\n'
    b'data: {"id":"c","model":"inner","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)


@both
@pytest.mark.parametrize("name", ASKED)
async def test_a_chat_reaches_the_expert_and_its_answer_the_client_byte_for_byte(
    name: str, transport: Transport
) -> None:
    streamed = name == "stream options"
    says = Says(STREAM, EVENTS) if streamed else Says(WHOLE)
    async with (
        upstream(chat__completions=says) as server,
        running({"pool": {"experts": [server.expert("outer", *ABLE)]}}, transport=transport) as gateway,
    ):
        for content in (TEXT, IMAGE):
            for model in (b"auto", b"outer"):
                body = b'{"model": "%b" ,%b,%b}' % (model, ASKED[name], content)
                status, got, _ = await ask(gateway.url, "/v1/chat/completions", body)
                assert (status, got) == (200, says.body.replace(b'"model":"inner"', b'"model":"outer"'))
                assert server.asked[-1].body == body.replace(b'"model": "%b"' % model, b'"model":"inner"')


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_experts_refusal_reaches_the_client_byte_for_byte(status: int) -> None:
    body = b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400.0}'
    async with (
        upstream(chat__completions=Says(body, status=status)) as server,
        running({"pool": {"experts": [server.expert("outer", *ABLE)]}}) as gateway,
    ):
        for _ in range(2):
            assert (await ask(gateway.url, "/v1/chat/completions", b'{"model":"auto",%b}' % TEXT))[:2] == (status, body)


async def test_both_sdks_list_the_models() -> None:
    async with (
        running({"pool": {"experts": pool_of_fakes()}}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as one,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as other,
    ):
        names = [model.id async for model in one.models.list()]
        assert [model.id async for model in other.models.list()] == names
        assert names[:2] == ["auto", "fake-code"]
        assert (await other.models.retrieve("fake-math")).display_name == "fake-math"


async def test_the_openapi_document_lists_every_endpoint() -> None:
    experts = [*pool_of_fakes(), fake("vectors", capabilities=["embeddings", "rerank", "score"])]
    async with running({"pool": {"experts": experts}}) as gateway, aiohttp.ClientSession() as session:
        async with session.get(f"{gateway.url}/openapi.json") as response:
            document: dict[str, Any] = await response.json()
        posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
        for path in (
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/responses",
            "/v1/embeddings",
            "/rerank",
            "/score",
        ):
            schema = posts[path]["requestBody"]["content"]["application/json"]["schema"]
            values = {"array": [{"role": "user", "content": "hi"}], "integer": 5}
            fields = {name: values.get(schema["properties"][name].get("type"), "hi") for name in schema["required"]}
            body = orjson.dumps({**fields, "model": "auto"})
            # What the document requires is enough.
            status, got, _ = await ask(gateway.url, path, body)
            assert status == 200, (path, got)
        assert {"/v1/chat/completions", "/v1/completions", "/v1/route", "/v1/feedback"} <= posts.keys()
