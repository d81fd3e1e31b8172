"""Odd answers of chat servers in both other APIs, read by the clients' own SDKs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.reply import EventStream
from pointsman.gateway.wire.translation import TranslatedRequest
from tests.fuzz import sdk_readers

A, B = '{"a":1}', '{"b":2}'


def delta(finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"created": 1, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def call(text: str, **fields: Any) -> dict[str, Any]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "function": {"arguments": text, **name}}


def told(endpoint: Endpoint, *said: Any, asked: dict[str, Any] | None = None, done: bool = True) -> bytes:
    """What a client gets of events, each a document or bytes."""
    translated = TranslatedRequest(endpoint, b"", asked or {"thinking": {"type": "enabled"}})
    translation, stream = translated.translation("1", "m", 3), EventStream("m")
    events = [one if isinstance(one, bytes) else b"data: %b\n\n" % orjson.dumps(one) for one in said]
    events += [b"data: [DONE]\n\n"] if done else []
    return b"".join([*(translation.feed(stream.feed(one)) for one in events), translation.end()])


def message(*said: Any) -> Any:
    read = sdk_readers.read_message_events(told(Endpoint.MESSAGES, *said))
    assert read is not None
    return read


def response(*said: Any, **asked: Any) -> Any:
    read = sdk_readers.read_response_events(told(Endpoint.RESPONSES, *said, asked=asked))
    assert read is not None
    return read


def whole(endpoint: Endpoint, body: Any, **asked: Any) -> Any:
    translation = TranslatedRequest(endpoint, b"", asked).translation("1", "m", 3)
    said = translation.whole(body if isinstance(body, bytes) else orjson.dumps(body))
    assert said is not None
    return (sdk_readers.read_message if endpoint is Endpoint.MESSAGES else sdk_readers.read_response)(said)


def answer(finish: str | None = "stop", **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}


INTERLEAVED = (
    delta(tool_calls=[call("", index=0, id="x", name="f"), call("", index=1, id="y", name="g")]),
    delta(tool_calls=[call(A[:3], index=0)]),
    delta(content="between"),
    delta(tool_calls=[call(B[:3], index=1)]),
    delta(tool_calls=[call(A[3:], index=0), call(B[3:], index=1)]),
    delta("tool_calls"),
)


def test_interleaved_calls_and_a_text_between_them() -> None:
    blocks = message(*INTERLEAVED).content
    assert [(one.id, one.name, one.input) for one in blocks if one.type == "tool_use"] == [
        ("x", "f", {"a": 1}),
        ("y", "g", {"b": 2}),
    ]
    assert [one.text for one in blocks if one.type == "text"] == ["between"]
    items = response(*INTERLEAVED).output
    assert [(one.call_id, one.arguments) for one in items if one.type == "function_call"] == [("x", A), ("y", B)]
    assert [one.content[0].text for one in items if one.type == "message"] == ["between"]


def test_a_blank_between_calls_is_no_block() -> None:
    said = (
        delta(tool_calls=[call(A[:3], index=0, id="x", name="f")]),
        delta(content="\n"),
        delta(tool_calls=[call(A[3:], index=0)]),
        delta("stop"),
    )
    assert [(one.type, one.input) for one in message(*said).content] == [("tool_use", {"a": 1})]


def test_a_whole_call_goes_out_before_the_end_of_the_stream() -> None:
    """An agent may begin to run it."""
    first, second = (delta(tool_calls=[call(one, index=n, id=f"x{n}", name="f")]) for n, one in enumerate((A, B), 0))
    assert b"content_block_stop" in told(Endpoint.MESSAGES, first, second, done=False)
    assert b"response.output_item.done" in told(Endpoint.RESPONSES, first, second, done=False)


def test_calls_without_ids_get_ids_of_their_own() -> None:
    said = (
        delta(tool_calls=[call(A, index=0, name="f")]),
        delta(tool_calls=[call(B, index=0, name="f")]),
        delta("stop"),
    )
    ids = [one.id for one in message(*said).content]
    assert len(set(ids)) == 2
    assert all(ids)
    twice = answer(tool_calls=[call(A, id="x", name="f"), call(B, id="x", name="g"), call(B, id="", name="h")])
    for ids in (
        [one.id for one in whole(Endpoint.MESSAGES, twice).content],
        [one.call_id for one in whole(Endpoint.RESPONSES, twice).output],
    ):
        assert ids[0] == "x"
        assert len(set(ids)) == 3
        assert all(ids)


@pytest.mark.parametrize("reason", ["stop", "eos", "eos_token", "tool_calls", "function_call", "whatever"])
def test_calls_are_to_be_run_whatever_word_the_server_has(reason: str) -> None:
    called = [call(A, index=0, id="x", name="f")]
    assert message(delta(tool_calls=called), delta(reason)).stop_reason == "tool_use"
    assert whole(Endpoint.MESSAGES, answer(reason, tool_calls=called)).stop_reason == "tool_use"
    assert response(delta(tool_calls=called), delta(reason)).status == "completed"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
def test_a_call_that_a_limit_cuts_short_is_a_short_answer(reason: str) -> None:
    called = [call('{"path": "a', index=0, id="x", name="f")]
    for said in (
        message(delta(tool_calls=called), delta(reason)),
        whole(Endpoint.MESSAGES, answer(reason, tool_calls=called)),
    ):
        assert said.stop_reason == "max_tokens"
        assert said.content[0].input == {"path": "a"}
    for said in (
        response(delta(tool_calls=called), delta(reason)),
        whole(Endpoint.RESPONSES, answer(reason, tool_calls=called)),
    ):
        assert (said.status, said.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert said.output[0].arguments == '{"path": "a'


@pytest.mark.parametrize("ending", [(), (delta(),), (delta(""),), (delta("null"),)])
def test_a_stream_without_a_reason_to_end_broke_off(ending: tuple[Any, ...]) -> None:
    for endpoint, read in (
        (Endpoint.MESSAGES, sdk_readers.read_message_events),
        (Endpoint.RESPONSES, sdk_readers.read_response_events),
    ):
        assert read(told(endpoint, delta(content="all of it"), *ending)) is None


def test_an_end_by_an_error_is_an_error() -> None:
    for endpoint in (Endpoint.MESSAGES, Endpoint.RESPONSES):
        assert b"event: error" in told(endpoint, delta(content="x"), delta("error"))
        assert b"out of memory" in told(
            endpoint, delta(content="x"), b'event: error\ndata: {"message":"out of memory"}\n\n'
        )
        assert (
            TranslatedRequest(endpoint, b"", {}).translation("1", "m", 3).whole(orjson.dumps(answer("error"))) is None
        )


def test_a_content_in_parts_is_read() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
        {"type": "refusal", "refusal": "no"},
    ]
    blocks = whole(Endpoint.MESSAGES, answer(content=parts), thinking={"type": "enabled"}).content
    assert [getattr(one, one.type) for one in blocks] == ["hm", "ab", "no"]
    reasoning, text, refusal = whole(Endpoint.RESPONSES, answer(content=parts)).output
    assert (reasoning.summary[0].text, text.content[0].text, refusal.content[0].refusal) == ("hm", "ab", "no")
    assert response(delta(content=parts), delta("stop")).output[1].content[0].text == "ab"


def test_half_a_letter_in_each_event_is_one_letter() -> None:
    first = b'data: {"choices":[{"index":0,"delta":{"content":"Hi \\ud83d"}}]}\n\n'
    second = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00 there \\ud83d"}}]}\n\n'
    assert message(first, second, delta("stop")).content[0].text == "Hi 😀 there �"
    assert response(first, second, delta("stop")).output[0].content[0].text == "Hi 😀 there �"
    called = (
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":'
    )
    pieces = (called + b'"{\\"a\\":\\"\\ud83d"}}]}}]}\n\n', delta(tool_calls=[call('"}', index=0)]), delta("stop"))
    assert message(*pieces).content[0].input == {"a": "�"}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (3, 2)),
        ({}, (3, 2)),
        ({"prompt_tokens": 9, "completion_tokens": None}, (9, 2)),
        ({"prompt_tokens": None, "completion_tokens": 4}, (3, 4)),
        ({"prompt_tokens": 9.0, "completion_tokens": "4"}, (9, 4)),
        ({"prompt_tokens": -1, "completion_tokens": True}, (3, 2)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}, (9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": None}}, (9, 4)),
        ("none", (3, 2)),
    ],
)
def test_an_account_is_whole_numbers(usage: Any, counts: tuple[int, int]) -> None:
    said = (delta(content="a word."), {**delta("stop"), "usage": usage})
    body = {**answer(content="a word."), "usage": usage}
    for found in (message(*said), response(*said), whole(Endpoint.MESSAGES, body), whole(Endpoint.RESPONSES, body)):
        assert (found.usage.input_tokens, found.usage.output_tokens) == counts


def test_a_client_hears_of_what_says_nothing() -> None:
    for endpoint, sign in ((Endpoint.MESSAGES, b'"type":"ping"'), (Endpoint.RESPONSES, b": keep-alive")):
        assert sign in told(endpoint, b": processing\n\n", done=False)
        assert sign in told(endpoint, delta(content="a"), b"retry: 5\n\n", done=False)
    hidden = (delta(content=""), delta(reasoning_content="hm"))
    assert b'"type":"ping"' in told(Endpoint.MESSAGES, *hidden, asked={"model": "m"}, done=False)


def test_data_over_several_lines_and_several_documents_in_one_event() -> None:
    spread = b'data: {"choices":[{"index":0,\rdata:"delta":{"content":"a"},\rdata: "finish_reason":null}]}\r\r'
    crowded = b"data: %b\ndata: %b\n\n" % (orjson.dumps(delta(content="b")), orjson.dumps(delta("stop")))
    assert message(spread, crowded).content[0].text == "ab"


def test_a_response_repeats_what_was_asked() -> None:
    asked = {
        "temperature": 0.5,
        "top_p": None,
        "instructions": "be brief",
        "tools": [{"type": "function", "name": "f"}],
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "max_tool_calls": 3,
        "service_tier": "auto",
        "reasoning": {"effort": "high"},
        "text": {"verbosity": "low"},
        "truncation": 5,
    }
    for found in (
        whole(Endpoint.RESPONSES, answer(content="x"), **asked),
        response(delta(content="x"), delta("stop"), **asked),
    ):
        assert (found.temperature, found.top_p, found.instructions, found.max_tool_calls) == (0.5, 1.0, "be brief", 3)
        assert (found.prompt_cache_key, found.safety_identifier, found.service_tier) == ("k", "s", "default")
        assert (found.reasoning.effort, found.text.verbosity, found.text.format.type) == ("high", "low", "text")
        assert (found.truncation, found.tools[0].strict) == ("disabled", None)
        assert found.completed_at >= found.created_at


def test_an_index_that_is_missing_is_the_first() -> None:
    for index in ({}, {"index": None}, {"index": "0"}):
        choice = {**index, "message": {"content": "x"}, "finish_reason": "stop"}
        assert whole(Endpoint.MESSAGES, {"choices": [choice]}).content[0].text == "x"
