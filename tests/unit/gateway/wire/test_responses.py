"""Responses requests as chats, and chats as responses: what has a counterpart is kept, what has none is told."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.request import Inbound, parse_inbound
from pointsman.gateway.wire.responses.answer import ResponsesAnswer
from tests.unit.gateway.one_change import one_change
from tests.unit.gateway.wire.test_messages import ANSWERED


def read(**fields: Any) -> Inbound:
    return parse_inbound(Endpoint.RESPONSES, orjson.dumps({"model": "auto", "input": "hi", **fields}))


def chat(**fields: Any) -> dict[str, Any]:
    return read(**fields).payload


def test_what_has_a_counterpart_is_kept() -> None:
    said = chat(
        instructions="be brief",
        max_output_tokens=5,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": None}],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
        store=True,
        include=["reasoning.encrypted_content"],
    )
    assert said["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (said["max_completion_tokens"], said["reasoning_effort"], said["verbosity"]) == (5, "low", "low")
    assert said["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    }
    assert said["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert said["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert said["parallel_tool_calls"] is False
    for name in ("input", "instructions", "text", "reasoning", "store", "include"):
        assert name not in said


def test_a_conversation_with_tools_keeps_its_order() -> None:
    request = read(
        input=[
            {"role": "developer", "content": "rules"},
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sun"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:x", "detail": "low"}]},
        ]
    )
    turns = request.payload["messages"]
    assert [turn["role"] for turn in turns] == ["developer", "user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in turns[2]["tool_calls"]] == ["c1", "c2"]
    assert [turn["content"] for turn in turns[2:5]] == ["Looking.", "sun", "rain"]
    assert turns[5]["content"] == [{"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]
    assert Capability.VISION in request.required
    assert request.earlier == ("weather?",)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0]"),
    ],
)
def test_fields_that_must_not_be_lost_need_an_expert_with_the_api(fields: dict[str, Any], where: str) -> None:
    request = read(**fields)
    assert request.translated is not None
    assert request.translated.native_only == where
    assert Capability.RESPONSES in request.required


@pytest.mark.parametrize(
    ("fields", "ids", "param"),
    [
        ({"previous_response_id": "resp_1"}, ("resp_1",), "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, ("conv_1",), "conversation"),
        ({"input": [{"id": "msg_1"}]}, ("msg_1",), "input[0].id"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, ("rs_1",), "input[0].id"),
        (
            {"input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}]},
            ("rs_1",),
            "input[0].encrypted_content",
        ),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, (), "input[0].encrypted_content"),
    ],
)
def test_what_ties_a_request_to_an_expert(fields: dict[str, Any], ids: tuple[str, ...], param: str) -> None:
    translated = read(**fields).translated
    assert translated is not None
    assert translated.binding is not None
    assert (translated.binding.ids, translated.binding.param) == (ids, param)
    free = read(input=[{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "user", "content": "x"}]).translated
    assert free is not None
    assert free.binding is None


def answer(**asked: Any) -> ResponsesAnswer:
    fields = {"model": "auto", "input": "hi", "tools": None, **asked}
    return ResponsesAnswer(answer_id="1", model="m", prompt_tokens=3, asked=fields, now_s=7)


def test_a_whole_answer_with_all_there_is() -> None:
    message = {
        "content": "x",
        "reasoning": "hm",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    }
    usage = {
        "prompt_tokens": 4,
        "completion_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = answer().whole(orjson.dumps({"created": 5, "choices": [choice], "usage": usage}))
    assert body is not None
    response = orjson.loads(body)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert len({item["id"] for item in response["output"]}) == 3
    assert (response["created_at"], response["status"], response["store"], response["tools"]) == (
        5,
        "completed",
        False,
        [],
    )
    assert response["usage"] == {
        "input_tokens": 4,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 10,
    }


def delta(finish: str | None = None, **said: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def test_items_of_a_stream_open_and_close_in_turn() -> None:
    translation = answer()
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": "{}"}}
    chunks = [
        delta(role="assistant"),
        delta(reasoning_content="hm"),
        delta(content="a"),
        delta(content="b"),
        delta(tool_calls=[call]),
        delta(tool_calls=[more]),
        delta("length"),
        b"data: [DONE]\n\n",
    ]
    data = b"".join(map(translation.feed, chunks)) + translation.end()
    events = [orjson.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data:")]
    assert [(event["type"].removeprefix("response."), event.get("output_index")) for event in events] == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("incomplete", None),
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    assert final["incomplete_details"] == {"reason": "max_output_tokens"}
    assert final["output"][1]["content"][0]["text"] == "ab"
    assert final["output"][2]["arguments"] == "{}"
    # What the expert does not count is estimated.
    assert (final["usage"]["input_tokens"], final["usage"]["output_tokens"]) == (3, 2)


VALID: dict[str, Any] = {
    "model": "auto",
    "stream": True,
    "instructions": "s",
    "max_output_tokens": 5,
    "include": ["reasoning.encrypted_content"],
    "top_logprobs": 0,
    "metadata": {"a": "b"},
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "tools": [
        {"type": "function", "name": "f", "parameters": {}},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "shell", "environment": {"type": "local"}},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "conversation": {"id": "conv_1"},
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "x"}]},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "c", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"], "timeout_ms": None}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "", "stderr": ""}]},
        {"type": "item_reference", "id": "msg_1"},
        {"role": "user", "content": "go on"},
    ],
}


@settings(max_examples=500)
@given(one_change(VALID))
def test_nearly_right_is_a_refusal_or_a_request(asked: dict[str, Any]) -> None:
    with contextlib.suppress(RequestRefused):
        request = parse_inbound(Endpoint.RESPONSES, orjson.dumps(asked))
        assert request.translated is not None
        request.translated.rewrite_user_text(lambda texts: [text.upper() for text in texts])
        assert orjson.loads(request.translated.body_for("m"))["model"] == "m"


@settings(max_examples=500)
@given(one_change(ANSWERED), one_change(VALID))
def test_no_answer_breaks_the_translation(answered: dict[str, Any], asked: dict[str, Any]) -> None:
    body = orjson.dumps(answered)
    answer(**asked).whole(body)
    translation = answer(**asked)
    translation.feed(b"data: " + body + b"\n\n")
    translation.end()
