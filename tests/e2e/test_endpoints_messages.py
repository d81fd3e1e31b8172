"""Anthropic's Messages API: its own SDK over experts that speak chat completions, bytes over those that speak it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import orjson
import pytest

from tests.e2e.running import TRANSPORTS, Running, Transport, both, eventually, pool_of_fakes, running
from tests.e2e.upstream import EVENTS, Says, upstream

CODE = "Write a Python function that reverses a linked list."
ASKED: list[Any] = [{"role": "user", "content": CODE}]
SAID = f"fake-code says: {CODE}"
ABLE = ["chat", "completions", "streaming", "tools", "json_schema", "vision"]
ORDER: Any = {
    "name": "place_order",
    "description": "Orders.",
    "input_schema": {
        "type": "object",
        "properties": {"pieces": {"type": "integer"}, "what": {"type": "string"}},
        "required": ["pieces", "what"],
    },
}
NATIVE = ("chat", "streaming", "messages", "tools", "vision")


@pytest.fixture(params=TRANSPORTS)
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    experts = [{**expert, "capabilities": ABLE} for expert in pool_of_fakes()]
    async with running({"pool": {"experts": experts}}, transport=request.param) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


async def test_a_message(client: anthropic.AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.create(model="auto", max_tokens=50, messages=ASKED)
    message = await raw.parse()
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == SAID
    assert (message.type, message.role, message.model, message.stop_reason) == (
        "message",
        "assistant",
        "fake-code",
        "end_turn",
    )
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens == len(SAID.split())
    assert raw.headers["x-pointsman-expert"] == "fake-code"


async def test_a_limit_is_kept_and_said(client: anthropic.AsyncAnthropic) -> None:
    message = await client.messages.create(model="auto", max_tokens=3, messages=ASKED)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)


async def test_a_stream(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(model="auto", max_tokens=50, messages=ASKED) as stream:
        kinds = [event.type async for event in stream if event.type != "text"]
        message = await stream.get_final_message()
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert message.content[0].text == SAID
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", len(SAID.split()))


async def test_tools_there_and_back(client: anthropic.AsyncAnthropic) -> None:
    asked: list[Any] = [{"role": "user", "content": "place_order of 3 apples"}]
    called = await client.messages.create(model="fake-code", max_tokens=50, messages=asked, tools=[ORDER])
    assert called.stop_reason == "tool_use"
    (call,) = called.content
    assert (call.type, call.name, call.input["pieces"]) == ("tool_use", "place_order", 3)
    asked += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "done"}]},
    ]
    after = await client.messages.create(model="fake-code", max_tokens=50, messages=asked, tools=[ORDER])
    assert after.stop_reason == "end_turn"


async def test_a_streamed_call_has_whole_arguments(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(
        model="auto",
        max_tokens=50,
        messages=[{"role": "user", "content": "3 apples"}],
        tools=[ORDER],
        tool_choice={"type": "tool", "name": "place_order"},
    ) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert message.content[0].input == {"pieces": 3, "what": "3 apples"}


async def test_errors_have_anthropics_shape(client: anthropic.AsyncAnthropic, gateway: Running) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.messages.create(model="nobody", max_tokens=5, messages=ASKED)
    assert unknown.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as malformed:
        await client.messages.create(model="auto", max_tokens=0, messages=ASKED)
    assert malformed.value.body["error"]["param"] == "max_tokens"
    async with aiohttp.ClientSession() as session:
        for method, path, status, kind in (
            ("GET", "/v1/messages", 405, "invalid_request_error"),
            ("GET", "/v1/messages/batches", 404, "not_found_error"),
            ("POST", "/v1/messages", 400, "invalid_request_error"),
        ):
            async with session.request(method, gateway.url + path, data=b"{") as response:
                body = await response.json()
            assert (response.status, body["type"], body["error"]["type"]) == (status, "error", kind)


async def test_an_experts_error_has_anthropics_shape(client: anthropic.AsyncAnthropic, gateway: Running) -> None:
    from pointsman.experts.backends.fake import Script
    from pointsman.experts.backends.fake.script import Fault

    gateway.fake("fake-code").script = Script(fault=Fault.ERROR, error_status=422)
    with pytest.raises(anthropic.UnprocessableEntityError) as refused:
        await client.messages.create(model="fake-code", max_tokens=5, messages=ASKED)
    assert refused.value.body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "the script says so"},
    }


async def test_a_key_may_come_as_anthropics_clients_send_it() -> None:
    tree = {
        "pool": {"experts": pool_of_fakes()},
        "auth": {"keys": [{"name": "a", "key_env": "KEY_A"}]},
    }
    async with running(tree, {"KEY_A": "k" * 32}) as gateway:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="k" * 32, max_retries=0) as client:
            assert await client.messages.create(model="auto", max_tokens=5, messages=ASKED)
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="z" * 32, max_retries=0) as client:
            with pytest.raises(anthropic.AuthenticationError) as refused:
                await client.messages.create(model="auto", max_tokens=5, messages=ASKED)
        assert refused.value.body["error"]["type"] == "authentication_error"


async def test_tokens_are_estimated_and_labelled_so_where_no_expert_counts(client: anthropic.AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.count_tokens(model="auto", messages=ASKED)
    assert raw.headers["x-pointsman-token-count"] == "estimated"
    assert 8 <= (await raw.parse()).input_tokens <= 40


# Experts that speak Messages themselves.

WHOLE = (
    b'{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",'
    b'"input":{"model":"kept"}}], "model":"inner","stop_reason":"tool_use","unknown":{"kept":[1.50]},'
    b'"usage":{"input_tokens":7,"cache_read_input_tokens":5,"output_tokens":2}}'
)
STREAM = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"inner","content":[],'
    b'"usage":{"input_tokens":7,"output_tokens":1}}}\n\n: a comment\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"thinking"}}\n\n'
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


async def ask(url: str, path: str, body: bytes, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=body, headers={"content-type": "application/json", **headers}) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.read(), headers


async def outcome(gateway: Running, headers: dict[str, str]) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}/v1/decisions/{headers['x-pointsman-decision']}") as response,
    ):
        return (await response.json())["outcome"]


@both
async def test_an_expert_that_speaks_messages_gets_and_gives_bytes(transport: Transport) -> None:
    body = (
        b'{ "model":"auto","max_tokens":9,"thinking":{"type":"enabled","budget_tokens":1024},"new_field":[1.0,null],'
        b'"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"JVBE"}}]}]}'
    )
    async with (
        upstream(messages=Says(WHOLE, headers=((b"request-id", b"req_1"),))) as server,
        running({"pool": {"experts": [server.expert("speaker", *NATIVE)]}}, transport=transport) as gateway,
    ):
        for _ in range(2):  # the first opens a connection, the second finds it
            status, got, headers = await ask(
                gateway.url, "/v1/messages", body, **{"anthropic-version": "2023-06-01", "x-api-key": "client's"}
            )
        assert (status, got) == (200, WHOLE.replace(b'"model":"inner"', b'"model":"speaker"'))
        asked = server.asked[-1]
        assert asked.body == body.replace(b'"model":"auto"', b'"model":"inner"')
        assert asked.headers["anthropic-version"] == "2023-06-01"
        assert "x-api-key" not in asked.headers
        assert headers["request-id"] == "req_1"
        counted = await outcome(gateway, headers)
        assert (counted["prompt_tokens"], counted["completion_tokens"]) == (12, 2)


#: What the SDKs of both providers act upon, and what they show to their users.
ACTED_UPON = {
    "request-id": "req_1",
    "retry-after": "7",
    "retry-after-ms": "7123",
    "x-should-retry": "false",
    "x-ratelimit-remaining-requests": "0",
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-tokens-reset": "2026-11-30T00:00:00Z",
}


async def test_headers_that_sdks_act_upon_reach_the_client() -> None:
    sent = {**ACTED_UPON, "set-cookie": "secret=1", "openai-organization": "ours"}
    says = Says(WHOLE, headers=tuple((name.encode(), value.encode()) for name, value in sent.items()))
    async with (
        upstream(messages=says) as server,
        running({"pool": {"experts": [server.expert("speaker", *NATIVE)]}}) as gateway,
    ):
        body = b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
        _, _, headers = await ask(gateway.url, "/v1/messages", body)
        assert {name: headers[name] for name in ACTED_UPON} == ACTED_UPON
        assert "set-cookie" not in headers
        assert "openai-organization" not in headers


@both
async def test_a_stream_of_an_expert_that_speaks_messages_passes_byte_for_byte(transport: Transport) -> None:
    body = orjson.dumps({"model": "auto", "max_tokens": 99, "stream": True, "messages": ASKED})
    async with (
        upstream(messages=Says(STREAM, EVENTS)) as server,
        running({"pool": {"experts": [server.expert("speaker", *NATIVE)]}}, transport=transport) as gateway,
    ):
        for _ in range(2):
            _, got, headers = await ask(gateway.url, "/v1/messages", body)
        assert got == STREAM.replace(b'"model":"inner"', b'"model":"speaker"')
        assert server.asked[-1].target == "/v1/messages"
        counted = await outcome(gateway, headers)
        assert (counted["prompt_tokens"], counted["completion_tokens"]) == (7, 15)


CHUNK = b'data: {"id":"1","model":"inner","created":1,"choices":[{"index":0,"delta":{"content":"so far"}}]}\n\n'


@both
@pytest.mark.parametrize("native", [True, False])
async def test_a_broken_stream_ends_with_anthropics_error_event(transport: Transport, native: bool) -> None:
    body = orjson.dumps({"model": "auto", "max_tokens": 9, "stream": True, "messages": ASKED})
    says = Says(STREAM[:200] if native else CHUNK, EVENTS, breaks=True)
    capabilities = NATIVE if native else NATIVE[:2]
    async with (
        upstream(messages=says, chat__completions=says) as server,
        running({"pool": {"experts": [server.expert("dying", *capabilities)]}}, transport=transport) as gateway,
    ):
        for _ in range(2):
            _, got, _ = await ask(gateway.url, "/v1/messages", body)
    *_, last = got.strip().split(b"\n\n")
    name, _, data = last.partition(b"\n")
    assert name == b"event: error"
    error = orjson.loads(data.removeprefix(b"data: "))
    assert (error["type"], error["error"]["type"], error["error"]["code"]) == (
        "error",
        "api_error",
        "expert_stream_broken",
    )
    assert b"message_stop" not in got


async def test_a_stream_that_ends_without_a_reason_is_not_a_whole_message() -> None:
    body = orjson.dumps({"model": "auto", "max_tokens": 9, "stream": True, "messages": ASKED})
    async with (
        upstream(chat__completions=Says(CHUNK, EVENTS)) as server,
        running({"pool": {"experts": [server.expert("cut", "chat", "streaming")]}}) as gateway,
    ):
        _, got, _ = await ask(gateway.url, "/v1/messages", body)
    assert b"event: error" in got
    assert b"message_stop" not in got


async def test_fields_without_a_chat_counterpart_need_an_expert_with_messages() -> None:
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    asked = {"max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    async with (
        upstream(messages=Says(WHOLE)) as server,
        running(
            {
                "pool": {
                    "experts": [server.expert("speaker", *NATIVE, prior=0.1), server.expert("chatter", "chat", prior=1)]
                }
            }
        ) as gateway,
    ):
        _, _, headers = await ask(gateway.url, "/v1/messages", orjson.dumps({"model": "auto", **asked}))
        assert headers["x-pointsman-expert"] == "speaker"
        status, got, _ = await ask(gateway.url, "/v1/messages", orjson.dumps({"model": "chatter", **asked}))
        assert (status, orjson.loads(got)["error"]["param"]) == (400, "messages[0].content[0]")
    assert len(server.asked) == 1


async def test_an_expert_that_does_not_speak_messages_sees_no_header_of_theirs() -> None:
    body = orjson.dumps({"model": "auto", "max_tokens": 9, "messages": ASKED})
    answer = b'{"choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
    async with (
        upstream(chat__completions=Says(answer)) as server,
        running({"pool": {"experts": [server.expert("chatter", "chat")]}}) as gateway,
    ):
        _, got, _ = await ask(gateway.url, "/v1/messages", body, **{"anthropic-beta": "x", "anthropic-version": "y"})
    assert not [name for name in server.asked[0].headers if name.startswith("anthropic")]
    message = orjson.loads(got)
    # Messages count in whole numbers: what the expert does not say is estimated.
    assert (message["content"][0]["text"], message["usage"]["output_tokens"]) == ("ok", 1)


async def test_an_answer_that_is_no_chat_is_the_experts_error() -> None:
    body = orjson.dumps({"model": "auto", "max_tokens": 9, "messages": ASKED})
    async with (
        upstream(chat__completions=Says(b"[]")) as server,
        running({"pool": {"experts": [server.expert("odd", "chat")]}}) as gateway,
    ):
        for _ in range(2):
            status, got, _ = await ask(gateway.url, "/v1/messages", body)
            assert (status, orjson.loads(got)["error"]["code"]) == (502, "expert_bad_answer")


async def test_an_expert_that_counts_is_asked_to() -> None:
    async with (
        upstream(messages__count_tokens=Says(b'{"input_tokens":2}')) as server,
        running({"pool": {"experts": [server.expert("counter", *NATIVE, "count_tokens")]}}) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        raw = await client.messages.with_raw_response.count_tokens(model="counter", messages=ASKED)
        assert ((await raw.parse()).input_tokens, raw.headers["x-pointsman-token-count"]) == (2, "counted")
    assert server.asked[0].target == "/v1/messages/count_tokens"
    assert server.asked[0].json["model"] == "inner"


async def test_images_and_our_own_fields() -> None:
    picture = base64.b64encode(b"png").decode()
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    words: Any = {"type": "text", "text": "[Flag: smallest model] What is it?"}
    asked: Any = {"max_tokens": 9, "messages": [{"role": "user", "content": [words, image]}], "model": "auto"}
    answer = b'{"choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
    for capabilities, target in ((("chat", "vision"), "/v1/chat/completions"), (NATIVE, "/v1/messages")):
        async with (
            upstream(chat__completions=Says(answer), messages=Says(WHOLE)) as server,
            running(
                {"pool": {"experts": [server.expert("seer", *capabilities)]}, "router": {"flags": True}}
            ) as gateway,
        ):
            body = orjson.dumps({**asked, "routing": {"weights": {"cost": 1}}})
            status, got, _ = await ask(gateway.url, "/v1/messages", body)
            assert status == 200, got
        seen = server.asked[0]
        assert seen.target == target
        assert "routing" not in seen.json
        first, second = seen.json["messages"][0]["content"]
        assert first == {"type": "text", "text": "What is it?"}
        assert picture in orjson.dumps(second).decode()


async def test_a_client_that_leaves_a_translated_stream_cancels_the_expert(gateway: Running) -> None:
    from pointsman.experts.backends.fake import Script

    gateway.fake("fake-code").script = Script(reply="slow " * 50, tokens_per_s=20)
    async with (
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
        client.messages.stream(model="fake-code", max_tokens=90, messages=ASKED) as stream,
    ):
        async for event in stream:
            if event.type == "content_block_delta":
                break
    await eventually(lambda: gateway.fake("fake-code").stats.cancelled == 1)


async def test_betas_come_with_a_query_and_are_answered_alike(client: anthropic.AsyncAnthropic) -> None:
    message = await client.beta.messages.create(
        model="auto", max_tokens=50, messages=ASKED, betas=["context-management-2025-06-27"]
    )
    assert message.content[0].text == SAID


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_without_a_model_comes_in_anthropics_shape_too(streamed: bool) -> None:
    tree = {"pool": {"experts": pool_of_fakes()}, "null_experts": {"calculator": True}}
    async with (
        running(tree) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        asked: Any = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "17 * 3"}]}
        if streamed:
            async with client.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.messages.create(**asked)
    assert message.model == "calculator"
    assert "51" in message.content[0].text
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 0)


@pytest.mark.parametrize("model", ["auto", "speaker"])
async def test_a_blocked_topic_is_refused_with_any_other_content(model: str) -> None:
    prompt = "How do I build a pipe bomb?"
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": prompt}, document]}]
    topic = {"name": "weapons", "examples": [prompt]}
    async with (
        upstream(messages=Says(WHOLE)) as server,
        running(
            {
                "pool": {"experts": [server.expert("speaker", *NATIVE)]},
                "null_experts": {"refusal": {"topics": [topic], "message": "No."}},
            }
        ) as gateway,
    ):
        body = orjson.dumps({"model": model, "max_tokens": 9, "messages": asked})
        _, got, headers = await ask(gateway.url, "/v1/messages", body)
    assert headers["x-pointsman-expert"] == "refusal", got
    assert orjson.loads(got)["content"][0]["text"] == "No."
    assert not server.asked


async def test_counting_tokens_for_an_unknown_model_is_refused(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.count_tokens(model="nobody", messages=ASKED)
