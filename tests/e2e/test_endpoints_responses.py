"""OpenAI's Responses API: its own SDK over experts that speak chat completions, and bytes over those that speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from pydantic import BaseModel

from tests.e2e.running import TRANSPORTS, Running, Transport, both, pool_of_fakes, running
from tests.e2e.test_endpoints_messages import ABLE, CHUNK, CODE, SAID, ask
from tests.e2e.upstream import EVENTS, Says, upstream

ORDER: Any = {
    "type": "function",
    "name": "place_order",
    "parameters": {
        "type": "object",
        "properties": {"pieces": {"type": "integer"}, "what": {"type": "string"}},
        "required": ["pieces", "what"],
        "additionalProperties": False,
    },
    "strict": True,
}
NATIVE = ("chat", "streaming", "responses", "tools")


class Order(BaseModel):
    """An order."""

    pieces: int
    what: str


@pytest.fixture(params=TRANSPORTS)
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    experts = [{**expert, "capabilities": ABLE} for expert in pool_of_fakes()]
    async with running({"pool": {"experts": experts}}, transport=request.param) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_a_response(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="auto", input=CODE, instructions="Be brief.", temperature=0.5)
    assert response.output_text == SAID
    assert (response.object, response.status, response.model) == ("response", "completed", "fake-code")
    assert (response.instructions, response.temperature, response.store) == ("Be brief.", 0.5, True)
    assert response.usage is not None
    assert response.usage.output_tokens == len(SAID.split())
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


async def test_a_limit_is_kept_and_said(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="auto", input=CODE, max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_a_streams_events_come_in_the_right_order(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model="auto", input=[{"role": "user", "content": CODE}]) as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert response.output_text == SAID
    assert response.usage is not None
    assert response.usage.output_tokens == len(SAID.split())


async def test_tools_there_and_back(client: openai.AsyncOpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": "place_order of 3 apples"}]
    called = await client.responses.create(model="fake-code", input=asked, tools=[ORDER])
    (call,) = called.output
    assert call.type == "function_call"
    assert (call.name, orjson.loads(call.arguments)["pieces"]) == ("place_order", 3)
    asked += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "done"}]
    after = await client.responses.create(model="fake-code", input=asked, tools=[ORDER])
    assert after.output_text


async def test_a_streamed_call_has_whole_arguments(client: openai.AsyncOpenAI) -> None:
    choice: Any = {"type": "function", "name": "place_order"}
    async with client.responses.stream(model="auto", input="3 apples", tools=[ORDER], tool_choice=choice) as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    assert kinds[2] == "response.output_item.added"
    assert kinds[-3:] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    (call,) = response.output
    assert call.type == "function_call"
    assert orjson.loads(call.arguments) == {"pieces": 3, "what": "3 apples"}


async def test_structured_output(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.parse(model="auto", input="3 apples", text_format=Order)
    assert response.output_parsed == Order(pieces=3, what="3 apples")


async def test_errors_name_the_clients_own_field(client: openai.AsyncOpenAI) -> None:
    for fields, param in (
        ({"input": []}, "input"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "top_logprobs": 2}, "top_logprobs"),
        ({"input": "x", "previous_response_id": "resp_of_nobody"}, "previous_response_id"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="auto", **fields)  # type: ignore[call-overload]
        assert refused.value.param == param


WHOLE = (
    b'{"id":"resp_abc","object":"response","created_at":1,"model":"inner","status":"completed","new":[1.0],"output":['
    b'{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA","summary":[]},{"type":"message","id":"msg_1","role":'
    b'"assistant","content":[{"type":"output_text","text":"ok \\"id\\":\\"resp_false\\"","annotations":[]}]}],'
    b'"usage":{"input_tokens":7,"output_tokens":2,"total_tokens":9}}'
)
EVENT = b'event: response.%b\ndata: {"type":"response.%b","response":%b}\n\n'
STREAM = EVENT % (b"created", b"created", WHOLE.replace(b"7", b"6")) + EVENT % (b"completed", b"completed", WHOLE)


@both
async def test_an_expert_that_speaks_responses_gets_and_gives_bytes(transport: Transport) -> None:
    body = b'{"model": "auto","input":"hi", "include":["reasoning.encrypted_content"],"unheard_of":{"kept":[1.0]}}'
    async with (
        upstream(responses=Says(WHOLE)) as server,
        running({"pool": {"experts": [server.expert("speaker", *NATIVE)]}}, transport=transport) as gateway,
    ):
        for _ in range(2):
            status, got, _ = await ask(gateway.url, "/v1/responses", body)
            assert (status, got) == (200, WHOLE.replace(b'"model":"inner"', b'"model":"speaker"'))
        assert server.asked[-1].body == body.replace(b'"model": "auto"', b'"model":"inner"')
        server.answers["/v1/responses"] = Says(STREAM, EVENTS)
        for _ in range(2):
            _, got, headers = await ask(gateway.url, "/v1/responses", body.replace(b'"hi"', b'"hi","stream":true'))
            assert got == STREAM.replace(b'"model":"inner"', b'"model":"speaker"')
    assert headers["content-type"] == EVENTS


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("tied", ["previous_response_id", "encrypted_content"])
async def test_encrypted_reasoning_and_earlier_responses_stay_with_their_maker(tied: str, streamed: bool) -> None:
    first = Says(STREAM, EVENTS) if streamed else Says(WHOLE)
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []}
    following: dict[str, Any] = {"input": [item, {"role": "user", "content": "go on"}]}
    if tied == "previous_response_id":
        following = {"input": "go on", "previous_response_id": "resp_abc"}
    async with (
        upstream(responses=first) as maker,
        upstream(responses=Says(WHOLE)) as other,
        running(
            {
                "pool": {
                    "experts": [
                        maker.expert("maker", *NATIVE, prior=0.1),
                        other.expert("other", *NATIVE, prior=0.9),
                    ]
                },
                "auth": {"keys": [{"name": name, "key_env": f"KEY_{name}"} for name in ("A", "B")]},
            },
            {"KEY_A": "a" * 32, "KEY_B": "b" * 32},
        ) as gateway,
    ):
        mine, theirs = {"authorization": "Bearer " + "a" * 32}, {"authorization": "Bearer " + "b" * 32}

        async def put(fields: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
            return await ask(gateway.url, "/v1/responses", orjson.dumps(fields), **headers)

        await put({"model": "maker", "input": "hi", "stream": streamed}, mine)
        _, _, headers = await put({"model": "auto", "input": "hi"}, mine)
        assert headers["x-pointsman-expert"] == "other", "left free, another expert is chosen"
        if streamed:
            maker.answers["/v1/responses"] = Says(WHOLE)
        # What `other` made has the same ids here, so only what came first is asked of.
        maker.asked.clear()
        other.answers["/v1/responses"] = Says(WHOLE.replace(b"resp_abc", b"resp_xyz").replace(b"rs_1", b"rs_2"))
        await put({"model": "maker", "input": "hi"}, mine)
        status, got, headers = await put({"model": "auto", **following}, mine)
        assert (status, headers["x-pointsman-expert"]) == (200, "maker"), got
        assert len(maker.asked) == 2
        # Another tenant's ids say nothing here, and an expert that is named instead of the maker is not asked.
        for model, of in (("auto", theirs), ("other", mine)):
            before = len(other.asked)
            status, got, _ = await put({"model": model, **following}, of)
            # That there is such a response is not even told to who may not have it.
            assert status == (404 if of is theirs and tied == "previous_response_id" else 400)
            assert orjson.loads(got)["error"]["param"] in ("previous_response_id", "input[0].encrypted_content")
            assert len(other.asked) == before


@both
@pytest.mark.parametrize("native", [True, False])
async def test_a_broken_stream_ends_with_an_error_event(transport: Transport, native: bool) -> None:
    body = orjson.dumps({"model": "auto", "stream": True, "input": CODE})
    says = Says(STREAM[:-40] if native else CHUNK, EVENTS, breaks=True)
    async with (
        upstream(responses=says, chat__completions=says) as server,
        running(
            {"pool": {"experts": [server.expert("dying", *NATIVE[: 3 if native else 2])]}}, transport=transport
        ) as gateway,
    ):
        for _ in range(2):
            _, got, _ = await ask(gateway.url, "/v1/responses", body)
    *_, last = got.strip().split(b"\n\n")
    name, _, data = last.partition(b"\n")
    error = orjson.loads(data.removeprefix(b"data: "))
    assert (name, error["type"], error["code"]) == (b"event: error", "error", "expert_stream_broken")
    assert b"event: response.completed" not in got


async def test_our_own_fields_and_flags_reach_no_expert_in_either_shape() -> None:
    content = [{"type": "input_text", "text": "[Flag: smallest model] Hello"}]
    body = orjson.dumps(
        {"model": "auto", "input": [{"role": "user", "content": content}], "routing": {"max_cost_usd": None}}
    )
    answer = b'{"choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
    for capabilities in (NATIVE, NATIVE[:2]):
        async with (
            upstream(responses=Says(WHOLE), chat__completions=Says(answer)) as server,
            running({"pool": {"experts": [server.expert("one", *capabilities)]}, "router": {"flags": True}}) as gateway,
        ):
            status, got, _ = await ask(gateway.url, "/v1/responses", body)
            assert status == 200, got
        sent = server.asked[0].body
        assert b"Hello" in sent
        assert b"Flag" not in sent
        assert b"routing" not in sent
