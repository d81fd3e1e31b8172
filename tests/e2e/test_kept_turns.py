"""Turns that the gateway keeps where a chat expert answered: whoever goes on from them is understood."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from pointsman.gateway.process.redis_server import EmbeddedRedis
from tests.e2e.chat_turns import AUTH, CALL, CHAT, WEATHER, ask, gateway_before, responses_of, said, turns
from tests.e2e.running import Transport, both
from tests.e2e.upstream import upstream


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


async def test_limits_see_the_whole_conversation() -> None:
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT, context_window_tokens=400)) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", input="word " * 200, max_output_tokens=16)
        with pytest.raises(openai.UnprocessableEntityError):
            await client.responses.create(
                model="auto", input="word " * 200, max_output_tokens=16, previous_response_id=first.id
            )
        route: Any = {"input": "word " * 200, "max_output_tokens": 16}
        async with aiohttp.ClientSession(gateway.url) as http:
            async with http.post("/v1/route", json=route) as alone:
                assert (await alone.json())["expert"] == "chat"
            async with http.post("/v1/route", json={**route, "previous_response_id": first.id}) as whole:
                assert (await whole.json())["expert"] is None


async def test_large_turns_are_put_in_beside_the_event_loop() -> None:
    words = "word " * 80_000
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        responses_of(gateway) as client,
    ):
        first = await ask(client, chat, "one", input=words)
        await ask(client, chat, "two", input="second", previous_response_id=first.id)
        assert turns(chat) == [("user", words), ("assistant", "one"), ("user", "second")]
        await ask(client, chat, "two", input=words + "more", previous_response_id=first.id)
        assert turns(chat) == [("user", words), ("assistant", "one"), ("user", words + "more")]


@pytest.mark.parametrize("auth", [None, AUTH])
async def test_turns_outlive_a_redis_that_is_gone_and_what_it_alone_had_is_not_found(
    redis_server: EmbeddedRedis, auth: dict[str, Any] | None
) -> None:
    shared = {"url": redis_server.url, "embedded": False}
    async with (
        upstream() as chat,
        gateway_before(chat.expert("chat", *CHAT), auth=auth, redis=shared) as one,
        gateway_before(chat.expert("chat", *CHAT), auth=auth, redis=shared) as other,
        responses_of(one) as here,
        responses_of(other) as there,
    ):
        first = await ask(here, chat, "one", input="first")
        second = await ask(there, chat, "two", input="second", previous_response_id=first.id)
        assert turns(chat) == [("user", "first"), ("assistant", "one"), ("user", "second")]
        await asyncio.to_thread(redis_server.stop)
        asked = len(chat.asked)
        for _ in range(4):
            with pytest.raises(openai.BadRequestError) as lost:
                await here.responses.create(model="auto", input="third", previous_response_id=second.id)
            assert lost.value.code == "previous_response_not_found"
        assert "does not answer" in lost.value.message
        assert len(chat.asked) == asked
        await ask(there, chat, "three", input="third", previous_response_id=second.id)
        assert turns(chat)[-3:] == [("user", "second"), ("assistant", "two"), ("user", "third")]
        await ask(here, chat, "one", input="something new")
