"""Anthropic's threads before experts that speak chat alone, with its own SDK: nothing that was said is lost."""

from __future__ import annotations

from typing import Any

import anthropic
import orjson
import pytest
from anthropic.types.beta import BetaMessageThreadParam

from tests.e2e.chat_turns import AUTH, CALL, CHAT, WEATHER, gateway_before, messages_of, said, streamed, turns
from tests.e2e.running import Transport, both
from tests.e2e.upstream import Says, upstream

CREATE: BetaMessageThreadParam = {"type": "create"}
TOOL: Any = {"name": "get_weather", "input_schema": WEATHER["parameters"]}


def after(message_id: str) -> BetaMessageThreadParam:
    return {"type": "continue", "previous_message_id": message_id}


def native(message_id: str) -> Says:
    """A message of an expert that speaks Messages."""
    content = [{"type": "text", "text": "native"}]
    ending = {"stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    return Says(
        orjson.dumps(
            {"id": message_id, "type": "message", "role": "assistant", "model": "inner", "content": content, **ending}
        )
    )


@anthropic.beta_async_tool
async def get_weather(city: str) -> str:
    """The weather.

    Args:
        city: Where.
    """
    return f"sun in {city}"


@both
@pytest.mark.parametrize("auth", [None, AUTH])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_runner_has_the_whole_conversation(
    transport: Transport, auth: dict[str, Any] | None, stream: bool
) -> None:
    first, second = (said("I look.", CALL), said("Sunny."))
    if stream:
        first, second = streamed("I look.", CALL), streamed("Sunny.")
    async with (
        upstream(chat__completions=first) as chat,
        gateway_before(chat.expert("chat", *CHAT), auth=auth, transport=transport) as gateway,
        messages_of(gateway) as client,
    ):
        runner: Any = client.beta.messages.tool_runner(
            model="auto",
            max_tokens=99,
            system="You are Bob.",
            tools=[get_weather],
            messages=[{"role": "user", "content": "weather in Rome"}],
            stream=stream,
        )
        async for turn in runner:
            if stream:
                await turn.get_final_message()
            chat.answers["/v1/chat/completions"] = second
        asked = chat.asked[-1].json
        assert [one["role"] for one in asked["messages"]] == ["system", "user", "assistant", "tool"]
        assert asked["messages"][:2] == [
            {"role": "system", "content": "You are Bob."},
            {"role": "user", "content": "weather in Rome"},
        ]
        assert asked["messages"][2]["content"] == "I look."
        ((call,), result) = asked["messages"][2]["tool_calls"], asked["messages"][3]
        assert orjson.loads(call["function"]["arguments"]) == {"city": "Rome"}
        assert result == {"role": "tool", "tool_call_id": "call_1", "content": "sun in Rome"}
        assert [tool["function"]["name"] for tool in asked["tools"]] == ["get_weather"]
        assert len(chat.asked) == 2
        assert all(b"thread" not in one.body for one in chat.asked)


async def test_a_thread_keeps_system_and_tools_and_no_thoughts_and_may_fork() -> None:
    async with (
        upstream(chat__completions=said("one", thought="hm")) as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        messages_of(gateway) as client,
    ):
        base: Any = {"model": "auto", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
        first = await client.beta.messages.create(
            **base, system="S", tools=[TOOL], thread=CREATE, messages=[{"role": "user", "content": "first"}]
        )
        assert [block.type for block in first.content] == ["thinking", "text"]
        second = await client.beta.messages.create(
            **base, thread=after(first.id), messages=[{"role": "user", "content": "second"}]
        )
        before = [("system", "S"), ("user", "first"), ("assistant", "one")]
        assert turns(chat) == [*before, ("user", "second")]
        assert chat.asked[-1].json["tools"] == chat.asked[0].json["tools"]
        await client.beta.messages.create(
            **base, thread=after(second.id), messages=[{"role": "user", "content": "third"}]
        )
        assert turns(chat) == [*before, ("user", "second"), ("assistant", "one"), ("user", "third")]
        await client.beta.messages.create(
            **base, thread=after(first.id), messages=[{"role": "user", "content": "instead"}]
        )
        assert turns(chat) == [*before, ("user", "instead")]
        counted = await client.beta.messages.count_tokens(
            model="auto",
            messages=[{"role": "user", "content": "third"}],
            extra_body={"thread": after(second.id)},
        )
        alone = await client.beta.messages.count_tokens(model="auto", messages=[{"role": "user", "content": "third"}])
        assert counted.input_tokens > alone.input_tokens


def error_code(error: anthropic.APIStatusError) -> str:
    body: Any = error.body
    return str(body["error"]["details"]["error_code"])


async def test_another_tenants_thread_is_not_found_and_nobody_is_asked() -> None:
    async with (
        upstream(chat__completions=said("one")) as chat,
        gateway_before(chat.expert("chat", *CHAT), auth=AUTH) as gateway,
        messages_of(gateway) as a,
        messages_of(gateway, "KEY_A2") as a2,
        messages_of(gateway, "KEY_B") as b,
    ):
        base: Any = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        first = await a.beta.messages.create(**base, thread=CREATE)
        plain = await a.beta.messages.create(**base)
        asked = len(chat.asked)
        for client, previous in ((b, first.id), (a, plain.id), (a, "msg_" + "0" * 32), (a, "msg_other"), (b, "é")):
            for model in ("auto", "chat"):
                with pytest.raises(anthropic.NotFoundError) as lost:
                    await client.beta.messages.create(**{**base, "model": model}, thread=after(previous))
                assert error_code(lost.value) == "thread_not_found"
        assert len(chat.asked) == asked
        await a2.beta.messages.create(**base, thread=after(first.id))
        assert turns(chat) == [("user", "x"), ("assistant", "one"), ("user", "x")]


@pytest.mark.parametrize("turn_max_bytes", [0, 200])
async def test_a_runner_goes_on_where_no_thread_is_held(turn_max_bytes: int) -> None:
    """The SDK sends the whole conversation again, with a new thread or without any."""
    async with (
        upstream(chat__completions=said("I look.", CALL)) as chat,
        gateway_before(chat.expert("chat", *CHAT), conversations={"turn_max_bytes": turn_max_bytes}) as gateway,
        messages_of(gateway) as client,
    ):
        conversation: Any = {
            "model": "auto",
            "max_tokens": 99,
            "tools": [get_weather],
            "messages": [{"role": "user", "content": "weather in Rome " * 20}],
        }
        if turn_max_bytes == 0:
            with pytest.raises(anthropic.BadRequestError) as unsupported:
                await client.beta.messages.create(
                    model="auto", max_tokens=9, thread=CREATE, messages=[{"role": "user", "content": "x"}]
                )
            assert error_code(unsupported.value) == "thread_unsupported_request"
        async for _ in client.beta.messages.tool_runner(**conversation):
            chat.answers["/v1/chat/completions"] = said("Sunny.")
        assert [role for role, _ in turns(chat)] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("thread", [7, "create", [], {}, {"type": "join"}, {"type": "continue"}])
async def test_a_thread_that_cannot_be_read_is_refused(thread: Any) -> None:
    async with (
        upstream(chat__completions=said("one")) as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        messages_of(gateway) as client,
    ):
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.beta.messages.create(
                model="auto", max_tokens=9, thread=thread, messages=[{"role": "user", "content": "x"}]
            )
        assert "thread" in str(refused.value)
        assert not chat.asked


async def test_a_thread_goes_on_with_an_expert_that_holds_threads_itself_and_stays_there() -> None:
    async with (
        upstream(messages=native("msg_native")) as speaker,
        upstream(chat__completions=said("one")) as chat,
        gateway_before(
            chat.expert("chat", *CHAT, prior=0.9),
            speaker.expert("speaker", *CHAT, "messages", prior=0.1),
            auth=AUTH,
        ) as gateway,
        messages_of(gateway) as client,
    ):
        base: Any = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        first = await client.beta.messages.create(model="chat", system="S", thread=CREATE, **base)
        await client.beta.messages.create(model="speaker", thread=after(first.id), **base)
        sent = speaker.asked[-1].json
        assert (sent["thread"], sent["system"]) == (CREATE, "S")
        assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "user"]
        # The expert that holds it is asked, whoever would be better.
        await client.beta.messages.create(model="auto", thread=after("msg_native"), **base)
        assert speaker.asked[-1].json["thread"] == after("msg_native")
        assert len(speaker.asked[-1].json["messages"]) == 1
        with pytest.raises(anthropic.NotFoundError) as lost:
            await client.beta.messages.create(model="chat", thread=after("msg_native"), **base)
        assert error_code(lost.value) == "thread_not_found"


async def test_of_arguments_nested_too_deeply_the_rest_is_kept_as_a_text() -> None:
    deep = {**CALL, "function": {"name": "get_weather", "arguments": '{"a":' * 300 + "1" + "}" * 300}}
    async with (
        upstream(chat__completions=streamed("", deep)) as chat,
        gateway_before(chat.expert("chat", *CHAT)) as gateway,
        messages_of(gateway) as client,
    ):
        base: Any = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        events = [event async for event in await client.beta.messages.create(**base, thread=CREATE, stream=True)]
        assert events[-1].type == "message_stop"
        started = events[0]
        assert started.type == "message_start"
        await client.beta.messages.create(**base, thread=after(started.message.id), stream=True)
        call = chat.asked[-1].json["messages"][1]["tool_calls"][0]
        assert "INVALID_JSON" in orjson.loads(call["function"]["arguments"])
        assert call["function"]["arguments"].count("a") == 300, "as deep as can be read, and the rest as a text"
