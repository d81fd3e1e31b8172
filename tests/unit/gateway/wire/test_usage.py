"""What answers of every API say of their tokens, and what of it is believed."""

from typing import Any

import orjson
import pytest

from pointsman.experts.spec import Usage
from pointsman.gateway.wire.reply import EventStream, usage_in
from pointsman.gateway.wire.usage import ABSURD


def read(usage: dict[str, Any]) -> Usage | None:
    return usage_in(orjson.dumps({"usage": usage}))


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        # OpenAI: nested.
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4)),
        (
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0},
            },
            Usage(2006, 300, 1920, 0, 256),
        ),
        # Responses: nested.
        (
            {
                "input_tokens": 36,
                "input_tokens_details": {"cached_tokens": 30},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 80},
                "total_tokens": 123,
            },
            Usage(36, 87, 30, 0, 80),
        ),
        # Messages: beside each other.
        ({"input_tokens": 10, "output_tokens": 5}, Usage(10, 5)),
        (
            {
                "input_tokens": 21,
                "cache_read_input_tokens": 188_086,
                "cache_creation_input_tokens": 400,
                "output_tokens": 393,
            },
            Usage(188_507, 393, 188_086, 400),
        ),
        (
            {
                "input_tokens": 21,
                "cache_read_input_tokens": None,
                "cache_creation_input_tokens": 400,
                "output_tokens": 3,
            },
            Usage(421, 3, 0, 400),
        ),
        # DeepSeek.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            Usage(100, 5, 64),
        ),
        # litellm and OpenRouter, which count Anthropic's in OpenAI's way.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30},
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
            },
            Usage(100, 5, 60, 30),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 90},
            },
            Usage(100, 5, 0, 90),
        ),
        # xAI counts reasoning beside the answer, Gemini in the total alone.
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 103, 0, 0, 94),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 515}, Usage(5, 510, 0, 0, 500)),
        # A total that adds up in neither way says nothing.
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 10,
                "total_tokens": 16,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(5, 10, 0, 0, 4),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 3}, Usage(5, 10)),
    ],
)
def test_the_tokens_of_every_api(usage: dict[str, Any], counted: Usage) -> None:
    assert read(usage) == counted


@pytest.mark.parametrize(
    ("details", "counted"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 500}}, Usage(100, 20, 100)),
        ({"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 90}}, Usage(100, 20, 60, 40)),
        ({"completion_tokens_details": {"reasoning_tokens": 10**30}}, Usage(100, 20, 0, 0, 20)),
        ({"prompt_tokens_details": {"cached_tokens": -5}}, Usage(100, 20)),
        ({"prompt_tokens_details": {"cached_tokens": True}}, Usage(100, 20)),
        ({"prompt_tokens_details": {"cached_tokens": 5.5}}, Usage(100, 20)),
        ({"prompt_tokens_details": {"cached_tokens": "many"}}, Usage(100, 20)),
        ({"prompt_tokens_details": [1]}, Usage(100, 20)),
        ({"prompt_tokens_details": None, "completion_tokens_details": 7}, Usage(100, 20)),
        ({"total_tokens": "120"}, Usage(100, 20)),
        ({"cache_read_input_tokens": 10**6}, Usage(100, 20, 100)),
    ],
)
def test_details_that_cannot_be_are_cut_or_left_out(details: dict[str, Any], counted: Usage) -> None:
    if any(isinstance(one, dict) and 10**30 in one.values() for one in details.values()):
        details = {"completion_tokens_details": {"reasoning_tokens": 2**63}}
    assert read({"prompt_tokens": 100, "completion_tokens": 20, **details}) == counted


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 4},
        {"prompt_tokens": 1.5, "completion_tokens": 4},
        {"input_tokens": 4, "cache_read_input_tokens": -1, "output_tokens": 1},
    ],
)
def test_counts_that_are_none_are_absurd(usage: dict[str, Any]) -> None:
    assert read(usage) == ABSURD


def test_a_stream_of_messages_keeps_what_its_beginning_said_of_the_cache() -> None:
    begin = {"input_tokens": 4, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 6, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {"usage": begin}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 55}},
    ]
    stream = EventStream("e")
    for event in events:
        stream.feed(b"data: " + orjson.dumps(event) + b"\n\n")
    assert stream.usage == Usage(100, 55, 90, 6)


def test_a_stream_of_messages_whose_end_repeats_the_input_counts_it_once() -> None:
    counts = {"input_tokens": 4, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 6}
    stream = EventStream("e")
    for event in (
        {"type": "message_start", "message": {"usage": {**counts, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": {**counts, "output_tokens": 55}},
    ):
        stream.feed(b"data: " + orjson.dumps(event) + b"\n\n")
    assert stream.usage == Usage(100, 55, 90, 6)
