"""The fake does what its script says, and the same every time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.request
from typing import Any

import jsonschema
import orjson
import pytest

from pointsman.experts.backends.fake import FakeExpert, Fault, Script
from pointsman.experts.backends.fake.script import plan_call
from pointsman.experts.backends.planned import EndMode, ReplyPlan
from pointsman.experts.errors import ExpertUnavailable
from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import ExpertSpec
from tests.unit.experts.calls import chat, read, text

ASKED = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two {x}"}]}


def plan(script: Script, number: int = 0, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> ReplyPlan:
    return plan_call(script, "m", number, endpoint, {**ASKED, **fields}, 1_700_000_000)


def answer(script: Script, **fields: Any) -> dict[str, Any]:
    whole: dict[str, Any] = orjson.loads(b"".join(piece for _, piece in plan(script, **fields).pieces))
    return whole


def said(script: Script, **fields: Any) -> str:
    content: str = answer(script, **fields)["choices"][0]["message"]["content"]
    return content


def test_the_reply_is_a_template() -> None:
    assert said(Script(reply="{model} heard: {prompt}")) == "m heard: one two {x}"


def test_prompts_are_counted_in_words_and_three_more_a_message() -> None:
    assert answer(Script())["usage"]["prompt_tokens"] == 2 + 3 + 3 + 3


def test_content_in_parts_is_read() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "b"},
    ]
    assert said(Script(reply="{prompt}"), messages=[{"role": "user", "content": parts}]) == "a\nb"


@pytest.mark.parametrize(("tokens", "expected"), [(1, "a"), (2, "a b"), (5, "a b a b a"), (None, "a b")])
def test_the_length_of_the_answer(tokens: int | None, expected: str) -> None:
    script = Script(reply="a b", completion_tokens=tokens)
    assert said(script) == expected
    assert answer(script)["usage"]["completion_tokens"] == len(expected.split())


@pytest.mark.parametrize(
    ("fields", "expected", "reason"),
    [
        ({"max_tokens": 2}, "a b", "length"),
        ({"max_completion_tokens": 1, "max_tokens": 2}, "a", "length"),
        ({"max_tokens": 4}, "a b c d", "stop"),
        ({"stop": "c"}, "a b", "stop"),
        ({"stop": ["d", "b"]}, "a", "stop"),
        ({"stop": ["z"], "max_tokens": 3}, "a b c", "length"),
        ({"stop": None, "max_tokens": None}, "a b c d", "stop"),
    ],
)
def test_limits_of_the_caller(fields: dict[str, Any], expected: str, reason: str) -> None:
    choice = answer(Script(reply="a b c d"), **fields)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, reason)


def test_more_than_one_choice_is_refused() -> None:
    assert plan(Script(), n=2).status == 400
    assert plan(Script(), n=1).status == 200


def test_when_things_are_due() -> None:
    script = Script(reply="a b c", ttft_ms=100, prefill_ms_per_token=10, tokens_per_s=20)
    streamed = plan(script, stream=True)
    assert streamed.head_after_s == pytest.approx(0.21)
    assert [due for due, _ in streamed.pieces] == pytest.approx([0.21, 0.21, 0.26, 0.31, 0.31, 0.31])
    whole = plan(script)
    assert whole.head_after_s == pytest.approx(0.31)
    assert not whole.immediate
    assert plan(Script()).immediate


def test_jitter_stretches_a_call_by_no_more_than_its_share_and_by_its_number_alone() -> None:
    script = Script(ttft_ms=100, jitter=0.2, seed=5)
    delays = [plan(script, number).head_after_s for number in range(200)]
    assert delays == [plan(script, number).head_after_s for number in range(200)]
    assert delays != [plan(Script(ttft_ms=100, jitter=0.2, seed=6), number).head_after_s for number in range(200)]
    assert 0.08 <= min(delays) < 0.09
    assert 0.11 < max(delays) <= 0.12


def test_faults_strike_where_the_script_says() -> None:
    def struck(**fields: Any) -> list[int]:
        script = Script(fault=Fault.ERROR, error_status=503, **fields)
        return [number for number in range(300) if plan(script, number).status == 503]

    assert struck() == list(range(300))
    assert struck(fault_calls=(0, 7)) == [0, 7]
    by_chance = struck(fault_rate=0.2)
    assert 30 < len(by_chance) < 90
    assert by_chance == struck(fault_rate=0.2)
    assert set(struck(fault_rate=0.2, fault_calls=(0, 7))) == {0, 7, *by_chance}


def test_the_shapes_of_failures() -> None:
    hung = plan(Script(fault=Fault.HANG_HEAD))
    assert (hung.status, hung.pieces, hung.ending) == (0, (), EndMode.HANG)
    assert plan(Script(fault=Fault.REFUSE)) == ReplyPlan(0, ending=EndMode.BREAK)
    broken = plan(Script(reply="a b c", fault=Fault.BREAK, fault_after_tokens=2), stream=True)
    assert broken.ending is EndMode.BREAK
    assert len(broken.pieces) == 3, "the role and two tokens"
    half = plan(Script(fault=Fault.HANG_BODY))
    assert half.ending is EndMode.HANG
    promised = int(dict(half.headers)[b"content-length"])
    assert 0 < len(half.pieces[0][1]) < promised


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ttft": 3}, "ttft"),
        ({"fault": "explode"}, "explode"),
        ({"fault_rate": 1.5}, "fault_rate"),
        ({"jitter": float("nan")}, "jitter"),
        ({"tokens_per_s": 0}, "tokens_per_s"),
        ({"completion_tokens": 0}, "completion_tokens"),
        ({"error_status": 200}, "error_status"),
        ({"ttft_ms": -1}, "ttft_ms"),
    ],
)
def test_an_unusable_script_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Script.model_validate(options)


def test_options_of_a_settings_file() -> None:
    options = {"fault": "break", "fault_calls": [1, 2], "ttft_ms": 5}
    assert Script.model_validate(options) == Script(fault=Fault.BREAK, fault_calls=(1, 2), ttft_ms=5)


async def test_in_process_it_counts_what_became_of_its_calls() -> None:
    expert = FakeExpert(ExpertSpec("f", "fake", "m"), Script(reply="{prompt}", fault=Fault.REFUSE, fault_calls=(1,)))
    assert await text(expert, chat("as it is")) == "as it is"
    with pytest.raises(ExpertUnavailable):
        await expert.call(chat())
    reply = await expert.call(chat(stream=True))
    assert expert.stats.in_flight == 1
    await reply.aclose()
    assert (expert.stats.started, expert.stats.finished, expert.stats.cancelled) == (3, 2, 1)


async def test_the_same_as_a_server_for_others() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-m",
            "pointsman.experts.backends.fake",
            "--model",
            "other",
            "--reply",
            "{model}: {prompt}",
            "--fault",
            "error",
        ),
        *("--fault-calls", "1", "--error-status", "503", "--retry-after-s", "2"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
    url = line.strip().removeprefix("listening on ")

    def ask(path: str, body: dict[str, Any] | None = None) -> Any:
        with urllib.request.urlopen(url + path, None if body is None else json.dumps(body).encode()) as response:
            return json.load(response)

    try:
        whole = await asyncio.to_thread(ask, "/v1/chat/completions", ASKED)
        assert whole["choices"][0]["message"]["content"] == "other: one two {x}"
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(ask, "/v1/chat/completions", ASKED)
        assert (caught.value.code, caught.value.headers["retry-after"]) == (503, "2")
        assert (await asyncio.to_thread(ask, "/v1/models"))["data"][0]["id"] == "other"
        assert await asyncio.to_thread(ask, "/stats") == {"started": 2, "finished": 2, "cancelled": 0, "in_flight": 0}
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_reading_after_the_end_and_after_leaving() -> None:
    expert = FakeExpert(ExpertSpec("f", "fake", "m"))
    assert (await read(expert, chat()))[0] == 200
    reply = await expert.call(chat())
    assert [piece async for piece in reply] != []
    assert [piece async for piece in reply] == []


def function(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


WEATHER = function("get_weather", place={"type": "string"})
ADD = function("add_up", a={"type": "integer"}, b={"type": "integer"}, exact={"type": "boolean"})


def called(prompt: str, **fields: Any) -> tuple[str, Any] | None:
    whole = answer(Script(), messages=[{"role": "user", "content": prompt}], tools=[WEATHER, ADD], **fields)
    choice = whole["choices"][0]
    if "tool_calls" not in choice["message"]:
        assert choice["finish_reason"] == "stop"
        return None
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    (call,) = choice["message"]["tool_calls"]
    return call["function"]["name"], orjson.loads(call["function"]["arguments"])


@pytest.mark.parametrize(
    ("choice", "prompt", "expected"),
    [
        ("auto", "the weather in Rome", ("get_weather", {"place": "the weather in Rome"})),
        ("auto", "add_up 3 and -4", ("add_up", {"a": 3, "b": -4, "exact": True})),
        ("auto", "get on with it", None),
        ("none", "the weather in Rome", None),
        ("required", "get on with it", ("get_weather", {"place": "get on with it"})),
        ({"type": "function", "function": {"name": "add_up"}}, "weather", ("add_up", {"a": 0, "b": 0, "exact": True})),
    ],
)
def test_which_function_is_called_and_with_what(choice: Any, prompt: str, expected: tuple[str, Any] | None) -> None:
    assert called(prompt, tool_choice=choice) == expected


def test_what_a_function_gave_is_answered_in_words() -> None:
    messages = [{"role": "user", "content": "the weather?"}, {"role": "tool", "content": "sunny", "tool_call_id": "c"}]
    assert said(Script(), messages=messages, tools=[WEATHER]) == "You said: the weather?"


def test_a_streamed_call_is_the_same_call_in_pieces() -> None:
    fields = {"messages": [{"role": "user", "content": "the weather in Rome"}], "tools": [WEATHER]}
    whole = answer(Script(), **fields)["choices"][0]["message"]["tool_calls"][0]
    pieces = [
        piece for _, piece in plan(Script(), stream=True, stream_options={"include_usage": True}, **fields).pieces
    ]
    events = [orjson.loads(piece[6:]) for piece in pieces[:-1]]
    deltas = [call for one in events if one["choices"] for call in one["choices"][0]["delta"].get("tool_calls", ())]
    assert len(deltas) > 2
    assert {call["index"] for call in deltas} == {0}
    assert (deltas[0]["id"], deltas[0]["function"]["name"]) == (whole["id"], "get_weather")
    assert "".join(call["function"]["arguments"] for call in deltas) == whole["function"]["arguments"]
    assert events[-1]["usage"] == answer(Script(), **fields)["usage"]


def test_json_follows_its_schema() -> None:
    schema = {
        "type": "object",
        "$defs": {"Kind": {"enum": ["red", "blue"]}, "Tree": {"properties": {"below": {"$ref": "#/$defs/Tree"}}}},
        "properties": {
            "count": {"type": "integer", "maximum": 5},
            "share": {"anyOf": [{"type": "number", "minimum": 0.5}, {"type": "null"}]},
            "kind": {"$ref": "#/$defs/Kind"},
            "names": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "fixed": {"const": 7},
        },
        "required": ["count", "share", "kind", "names", "fixed"],
    }
    asked = {"messages": [{"role": "user", "content": "9 of them"}]}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    value = orjson.loads(said(Script(), response_format=shape, **asked))
    jsonschema.validate(value, schema)
    assert value == {"count": 5, "share": 0.5, "kind": "red", "names": ["9 of them"] * 2, "fixed": 7}
    endless = {"type": "json_schema", "json_schema": {"name": "x", "schema": {**schema, "$ref": "#/$defs/Tree"}}}
    assert "below" in orjson.loads(said(Script(), response_format=endless, **asked))


def test_json_without_a_schema_has_the_keys_that_the_prompt_quotes() -> None:
    messages = [{"role": "user", "content": "an object of 'setup' and \"punchline\""}]
    value = orjson.loads(said(Script(), messages=messages, response_format={"type": "json_object"}))
    assert set(value) == {"setup", "punchline"}
