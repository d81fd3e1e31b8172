"""Messages requests as chats, and chats as messages: what has a counterpart is kept, what has none is told."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.messages.answer import MessagesAnswer
from pointsman.gateway.wire.request import Inbound, expert_body, parse_inbound, strip_routing
from tests.unit.gateway.one_change import one_change


def read(**fields: Any) -> Inbound:
    asked = {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_inbound(Endpoint.MESSAGES, orjson.dumps(asked))


def chat(**fields: Any) -> dict[str, Any]:
    return read(**fields).payload


def lost(**fields: Any) -> str | None:
    translated = read(**fields).translated
    assert translated is not None
    return translated.native_only


def test_what_has_a_counterpart_is_kept() -> None:
    said = chat(
        system=[
            {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "two"},
        ],
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        temperature=0.5,
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        chat_template_kwargs={"enable_thinking": False},
    )
    assert said["messages"] == [{"role": "system", "content": "one\ntwo"}, {"role": "user", "content": "hi"}]
    assert (said["stop"], said["user"], said["temperature"], said["max_tokens"]) == (["END"], "u", 0.5, 5)
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert said["tools"] == [{"type": "function", "function": function}]
    assert (said["tool_choice"], said["parallel_tool_calls"], said["reasoning_effort"]) == ("required", False, "low")
    assert said["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert said["chat_template_kwargs"] == {"enable_thinking": False}
    for name in ("system", "stop_sequences", "metadata", "output_config"):
        assert name not in said


def test_a_conversation_with_tools_keeps_its_order() -> None:
    turns = chat(
        messages=[
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"at": "A"}},
                    {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]},
                    {"type": "tool_result", "tool_use_id": "t2", "content": "rain", "is_error": True},
                    {"type": "text", "text": "Well?"},
                ],
            },
        ]
    )["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user"]
    assert turns[1]["content"] == "Looking."
    assert [(call["id"], call["function"]["arguments"]) for call in turns[1]["tool_calls"]] == [
        ("t1", '{"at":"A"}'),
        ("t2", "{}"),
    ]
    assert [(turn["tool_call_id"], turn["content"]) for turn in turns[2:4]] == [("t1", "sun"), ("t2", "rain")]
    assert turns[4] == {"role": "user", "content": "Well?"}


def test_a_picture_in_a_result_follows_as_the_users() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    request = read(
        messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]}]
    )
    result, picture = request.payload["messages"]
    assert result == {"role": "tool", "tool_call_id": "t", "content": ""}
    assert picture["content"] == [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    assert Capability.VISION in request.required


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "x"}]}]},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
    ],
)
def test_fields_that_must_not_be_lost_need_an_expert_with_the_api(fields: dict[str, Any], where: str) -> None:
    assert lost(**fields) == where
    assert Capability.MESSAGES in read(**fields).required
    assert lost(thinking={"type": "enabled", "budget_tokens": 1024}, service_tier="auto") is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"system": 5}, "system"),
    ],
)
def test_what_is_malformed_is_named_as_the_client_wrote_it(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_our_routing_is_taken_out_of_both() -> None:
    request = read(routing={"max_cost_usd": 1})
    assert strip_routing(request) == {"max_cost_usd": 1}
    assert request.translated is not None
    assert "routing" not in orjson.loads(request.translated.body_for("m"))
    assert "routing" not in request.payload


def answer(**fields: Any) -> MessagesAnswer:
    return MessagesAnswer(**{"message_id": "1", "model": "m", "prompt_tokens": 3, "thoughts": False, **fields})


def whole(choice: dict[str, Any], usage: Any = None, **fields: Any) -> dict[str, Any]:
    body = answer(**fields).whole(orjson.dumps({"choices": [{"index": 0, **choice}], "usage": usage}))
    assert body is not None
    message: dict[str, Any] = orjson.loads(body)
    return message


@pytest.mark.parametrize(
    ("said", "stop", "sequence"),
    [
        ({"finish_reason": "stop"}, "end_turn", None),
        ({"finish_reason": "length"}, "max_tokens", None),
        ({"finish_reason": "max_tokens"}, "max_tokens", None),
        ({"finish_reason": "eos"}, "end_turn", None),
        ({"finish_reason": None}, "end_turn", None),
        ({}, "end_turn", None),
        ({"finish_reason": "content_filter"}, "refusal", None),
        # Without a call there is nothing to run.
        ({"finish_reason": "tool_calls"}, "end_turn", None),
        ({"finish_reason": "stop", "stop_reason": "END"}, "stop_sequence", "END"),
        ({"finish_reason": "stop", "matched_stop": "END"}, "stop_sequence", "END"),
        ({"finish_reason": "stop", "stop_reason": "end_turn"}, "end_turn", None),
        ({"finish_reason": "stop", "stop_reason": 151643}, "end_turn", None),
    ],
)
def test_why_an_answer_ends(said: dict[str, Any], stop: str, sequence: str | None) -> None:
    message = whole({"message": {"content": "x"}, **said}, stops=("END",))
    assert (message["stop_reason"], message["stop_sequence"]) == (stop, sequence)


def test_what_came_from_the_cache_is_counted_apart() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    assert whole({"message": {"content": "x"}, "finish_reason": "stop"}, usage)["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": 4,
        "output_tokens": 2,
    }


def test_thoughts_are_shown_to_who_asked_for_them() -> None:
    choice = {"message": {"content": "x", "reasoning_content": "hm"}, "finish_reason": "stop"}
    assert [block["type"] for block in whole(choice, thoughts=True)["content"]] == ["thinking", "text"]
    assert [block["type"] for block in whole(choice)["content"]] == ["text"]


def events(*chunks: Any) -> list[dict[str, Any]]:
    translation = answer(thoughts=True)
    data = b"".join(
        translation.feed(b"data: %b\n\n" % (chunk if isinstance(chunk, bytes) else orjson.dumps(chunk)))
        for chunk in chunks
    )
    told = [orjson.loads(line[6:]) for line in (data + translation.end()).splitlines() if line.startswith(b"data:")]
    return [event for event in told if event["type"] != "ping"]


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def test_blocks_of_a_stream_open_and_close_in_turn() -> None:
    def call(index: int, **said: Any) -> dict[str, Any]:
        return {"index": index, "function": said}

    got = events(
        delta(role="assistant", content=""),
        delta(reasoning_content="hm"),
        delta(content="a"),
        delta(content="b"),
        delta(tool_calls=[{"id": "t1", **call(0, name="f", arguments="")}]),
        delta(tool_calls=[call(0, arguments='{"a"')]),
        delta(tool_calls=[call(0, arguments=":1}"), {"id": "t2", **call(1, name="g", arguments="{}")}]),
        delta("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 6}},
        b"[DONE]",
        b"[DONE]",
    )
    shape = [(event["type"].removeprefix("content_block_"), event.get("index")) for event in got]
    assert shape == [
        ("message_start", None),
        *[("start", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("delta", 1), ("stop", 1)],
        # The last brace of an object goes out when nothing can follow it.
        *[("start", 2), ("delta", 2), ("delta", 2), ("delta", 2), ("stop", 2)],
        *[("start", 3), ("delta", 3), ("delta", 3), ("stop", 3)],
        ("message_delta", None),
        ("message_stop", None),
    ]
    begun = got[0]["message"]["usage"]
    assert (begun["input_tokens"], begun["output_tokens"]) == (3, 0)
    pieces = [event["delta"]["partial_json"] for event in got if event.get("index") == 2 and "delta" in event]
    assert "".join(pieces) == '{"a":1}'
    ended = got[-2]["usage"]
    assert (ended["input_tokens"], ended["output_tokens"]) == (4, 6)
    assert got[-2]["delta"]["stop_reason"] == "tool_use"


def test_an_error_in_a_stream_is_its_end() -> None:
    got = events(delta(content="a"), {"error": {"message": "out of memory"}}, delta("stop"), b"[DONE]")
    assert got[-1] == {"type": "error", "error": {"type": "api_error", "message": "out of memory"}}


def test_a_stream_without_a_reason_to_end_is_not_complete() -> None:
    translation = answer()
    translation.feed(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n')
    translation.end()
    assert not translation.complete


def test_what_is_nested_too_deeply_to_be_written_again_is_refused_or_marked() -> None:
    for levels in (100, 246, 247, 250, 251, 300):
        deep = orjson.loads(b"[" * levels + b"]" * levels)
        body = b'{"model":"auto","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f",'
        body += b'"input_schema":{"a":' + b"[" * levels + b"]" * levels + b"}}]}"
        with contextlib.suppress(RequestRefused):
            request = parse_inbound(Endpoint.MESSAGES, body)
            assert levels <= 246
            assert orjson.loads(expert_body(request, "m"))["tools"][0]["function"]["parameters"] == {"a": deep}
        arguments = (b'{"a":' + b"[" * levels + b"]" * levels + b"}").decode()
        call = {"id": "t", "function": {"name": "f", "arguments": arguments}}
        said = whole({"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"})["content"][0]["input"]
        assert ("INVALID_JSON" in said) == (levels > 239)


VALID: dict[str, Any] = {
    "model": "auto",
    "max_tokens": 5,
    "stream": True,
    "system": [{"type": "text", "text": "s"}],
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f"},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}},
                {"type": "document", "source": {"type": "text", "data": "aa"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}],
        },
        {"role": "user", "content": "go on"},
    ],
}
ANSWERED: dict[str, Any] = {
    "id": "1",
    "created": 1,
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "stop_reason": None,
            **{
                name: {
                    "role": "assistant",
                    "content": "x",
                    "reasoning": "hm",
                    "tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}],
                }
                for name in ("message", "delta")
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
}


@settings(max_examples=500)
@given(one_change(VALID))
def test_nearly_right_is_a_refusal_or_a_request(asked: dict[str, Any]) -> None:
    for endpoint in (Endpoint.MESSAGES, Endpoint.COUNT_TOKENS):
        with contextlib.suppress(RequestRefused):
            request = parse_inbound(endpoint, orjson.dumps(asked))
            assert request.translated is not None
            request.translated.rewrite_user_text(lambda texts: [text.upper() for text in texts])
            assert orjson.loads(request.translated.body_for("m"))["model"] == "m"


@settings(max_examples=500)
@given(one_change(ANSWERED))
def test_no_answer_breaks_the_translation(answered: dict[str, Any]) -> None:
    body = orjson.dumps(answered)
    answer().whole(body)
    translation = answer(thoughts=True)
    translation.feed(b"data: " + body + b"\n\n")
    translation.end()
