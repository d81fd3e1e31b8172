"""Turns that the gateway keeps where a chat expert answered: whoever goes on from them is understood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import orjson
import pytest

from tests.e2e.running import Running, both, running
from tests.e2e.running import Transport as Transport
from tests.e2e.upstream import EVENTS, Says, Upstream, upstream

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


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("auth", [None, AUTH])
async def test_an_earlier_response_stands_before_the_new_turn(
    transport: Transport, stream: bool, auth: dict[str, Any] | None
) -> None:
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), auth=auth, transport=transport) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", stream=stream, input="first", instructions="Be brief.")
        second = await ask(client, chat, "two", stream=stream, input="second", previous_response_id=first.id)
        third = await ask(
            client,
            chat,
            "three",
            stream=stream,
            previous_response_id=second.id,
            instructions="Be wordy.",
            input=[{"role": "user", "content": "third"}],
        )
        assert turns(chat) == [
            ("system", "Be wordy."),
            ("user", "first"),
            ("assistant", "one"),
            ("user", "second"),
            ("assistant", "two"),
            ("user", "third"),
        ]
        assert (third.output_text, third.previous_response_id, third.store) == ("three", second.id, True)
        # Whoever goes on from an earlier one leaves out what came since.
        await ask(client, chat, "other", stream=stream, input="instead", previous_response_id=first.id)
        assert turns(chat) == [("user", "first"), ("assistant", "one"), ("user", "instead")]
        assert b"previous_response_id" not in chat.asked[-1].body


async def test_what_functions_gave_follows_the_calls_that_were_kept() -> None:
    async with (
        upstream(chat__completions=said("Let me look.", CALL, thought="hm")) as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        responses_of(gateway) as client,
    ):
        tool: Any = {"type": "function", **WEATHER}
        first = await client.responses.create(model="auto", input="weather in Rome?", tools=[tool])
        assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
        given: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
        by_reference: Any = [
            {"role": "user", "content": "weather in Rome?"},
            *({"type": "item_reference", "id": item.id} for item in first.output),
            given,
        ]
        await ask(client, chat, "Sunny.", previous_response_id=first.id, input=[given], tools=[tool])
        by_response = chat.asked[-1].json["messages"]
        assert [one["role"] for one in by_response] == ["user", "assistant", "tool"]
        assert by_response[1]["tool_calls"] == [CALL]
        assert by_response[2] == {"role": "tool", "tool_call_id": "call_1", "content": "sun"}
        await ask(client, chat, "Sunny.", input=by_reference, tools=[tool])
        assert chat.asked[-1].json["messages"] == by_response


async def test_a_reference_needs_no_type_and_may_name_what_the_user_said() -> None:
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", input="first")
        listed = await client.responses.input_items.list(first.id)
        bare: Any = [{"id": listed.data[0].id}, {"id": first.output[0].id}, {"role": "user", "content": "second"}]
        await ask(client, chat, "two", input=bare)
        assert turns(chat) == [("user", "first"), ("assistant", "one"), ("user", "second")]
        # A field may be written with escapes.
        body = b'{"model":"auto","input":"x","previous_response\\u005fid":"%b"}' % first.id.encode()
        async with aiohttp.ClientSession(gateway.url) as http, http.post("/v1/responses", data=body) as reply:
            assert reply.status == 200
        assert turns(chat) == [("user", "first"), ("assistant", "one"), ("user", "x")]


async def test_a_kept_response_can_be_read_listed_and_deleted_by_its_tenant() -> None:
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), auth=AUTH) as gateway,
        responses_of(gateway) as a,
        responses_of(gateway, "KEY_A2") as a2,
        responses_of(gateway, "KEY_B") as b,
    ):
        first = await ask(a, chat, "one", input="first")
        second = await ask(a2, chat, "two", input="second", previous_response_id=first.id)
        assert (await a2.responses.retrieve(first.id)).output_text == "one"
        page = await a.responses.input_items.list(second.id, order="asc", limit=2)
        assert [item.id for item in page.data] == [
            item.id async for item in a.responses.input_items.list(second.id, order="asc")
        ][:2]
        assert page.has_more
        texts = [orjson.dumps(item.to_dict()) async for item in a.responses.input_items.list(second.id)]
        assert [b"second" in texts[0], b"one" in texts[1], b"first" in texts[2], len(texts)] == [True, True, True, 3]
        asked = len(chat.asked)
        for refused in (
            b.responses.retrieve(first.id),
            b.responses.delete(first.id),
            b.responses.input_items.list(first.id),
            b.responses.create(model="auto", input="x", previous_response_id=first.id),
            b.responses.create(model="chat", input="x", previous_response_id=first.id),
            b.responses.create(model="auto", input=[{"type": "item_reference", "id": first.output[0].id}]),
            a.responses.retrieve("resp_" + "0" * 32),
            a.responses.retrieve("../../etc"),
        ):
            with pytest.raises(openai.APIStatusError) as error:
                await refused
            assert error.value.status_code in (400, 404)
        assert len(chat.asked) == asked
        await a.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await a2.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError) as gone:
            await a.responses.create(model="auto", input="x", previous_response_id=first.id)
        assert (gone.value.code, gone.value.param) == ("previous_response_not_found", "previous_response_id")
        # The later one has all that was said before it.
        assert (await ask(a, chat, "three", input="third", previous_response_id=second.id)).output_text == "three"


@pytest.mark.parametrize(
    ("settings", "fields"), [({}, {"store": False}), ({"conversations": {"turn_max_bytes": 0}}, {})]
)
async def test_what_is_not_to_be_kept_is_not(settings: dict[str, Any], fields: dict[str, Any]) -> None:
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), **settings) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", input="first", **fields)
        assert first.store is False
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError) as gone:
            await client.responses.create(model="auto", input="x", previous_response_id=first.id)
        assert gone.value.code == "previous_response_not_found"
        assert len(chat.asked) == 1


async def test_a_kept_turn_goes_to_an_expert_of_the_same_api_in_full() -> None:
    native = {"id": "resp_native", "object": "response", "status": "completed", "model": "inner", "output": []}
    async with (
        upstream(responses=Says(orjson.dumps(native))) as speaker,
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), speaker.expert("speaker", *CHAT, "responses"), auth=AUTH) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", model="chat", input="first")
        await client.responses.create(model="speaker", input="second", previous_response_id=first.id)
        sent = speaker.asked[-1].json
        assert "previous_response_id" not in sent
        assert (sent["input"][0]["role"], sent["input"][0]["content"]) == ("user", "first")
        assert sent["input"][1]["content"][0]["text"] == "one"
        assert all("id" not in item for item in sent["input"]), "the provider has none of them"
        # What the speaker made stays with it, and cannot be read by another.
        await client.responses.create(model="auto", input="third", previous_response_id="resp_native")
        assert speaker.asked[-1].json["previous_response_id"] == "resp_native"
        with pytest.raises(openai.BadRequestError) as gone:
            await client.responses.create(model="chat", input="third", previous_response_id="resp_native")
        assert gone.value.code == "previous_response_not_found"


ITEMS = {
    "id": "resp_7",
    "object": "response",
    "status": "completed",
    "model": "inner",
    "output": [
        {"type": "web_search_call", "id": "ws_7", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "custom_tool_call", "id": "ctc_7", "call_id": "call_7", "name": "t", "input": "x"},
        {"type": "image_generation_call", "id": "ig_7", "status": "completed", "result": "aGk="},
        {"type": "mcp_call", "id": "mcp_7", "name": "t", "arguments": "{}", "server_label": "s", "output": "o"},
        {"type": "message", "id": "msg_7", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
    ],
}
ITEM_EVENTS = b"".join(
    b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
    for kind, fields in [
        *(("response.output_item.done", {"output_index": n, "item": one}) for n, one in enumerate(ITEMS["output"])),
        ("response.completed", {"response": ITEMS}),
    ]
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("auth", [None, AUTH])
async def test_items_of_any_kind_lead_to_the_expert_that_made_them(auth: dict[str, Any] | None, stream: bool) -> None:
    says = Says(ITEM_EVENTS, EVENTS) if stream else Says(orjson.dumps(ITEMS))
    other = Says(orjson.dumps(ITEMS).replace(b"_7", b"_8"))
    async with (
        upstream(responses=says) as maker,
        upstream(responses=other) as rival,
        upstream() as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9),
            rival.expert("rival", *CHAT, "responses", prior=0.8),
            maker.expert("maker", *CHAT, "responses", prior=0.1),
            auth=auth,
        ) as gateway,
        responses_of(gateway) as client,
    ):
        made = await client.responses.create(model="maker", input="first", stream=stream)
        if stream:
            assert len([event async for event in made]) == len(ITEMS["output"]) + 1  # type: ignore[union-attr]
        for item in ITEMS["output"]:
            maker.answers["/v1/responses"] = Says(orjson.dumps(ITEMS))
            asked = len(maker.asked)
            reference: Any = {"type": "item_reference", "id": item["id"]}
            await client.responses.create(model="auto", input=[reference, {"role": "user", "content": "go on"}])
            assert len(maker.asked) == asked + 1, item["id"]
        if auth is None:
            # One that nobody remembers says nothing against the others.
            both_items: Any = [{"type": "item_reference", "id": "ws_unknown"}, reference]
            await client.responses.create(model="auto", input=both_items)
            assert len(maker.asked) == asked + 2


async def test_one_expert_alone_can_have_made_what_nobody_here_knows() -> None:
    async with (
        upstream(responses=Says(orjson.dumps(ITEMS))) as speaker,
        upstream() as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9), speaker.expert("speaker", *CHAT, "responses", prior=0.1)
        ) as gateway,
        responses_of(gateway) as client,
    ):
        reference: Any = [{"type": "item_reference", "id": "ws_9"}, {"role": "user", "content": "go on"}]
        await client.responses.create(model="auto", input=reference)
        assert speaker.asked[-1].json["input"] == reference
        with pytest.raises(openai.NotFoundError) as lost:
            await client.responses.create(model="chat", input=reference)
        assert lost.value.param == "input[0].id"
