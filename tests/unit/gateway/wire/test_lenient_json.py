"""JSON that a strict reader refuses, and what is written of it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from pointsman.gateway.wire.lenient_json import joined, json_text, mended, read_json


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (b'{"a":1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":NaN,"b":Infinity,"c":-Infinity}', {"a": None, "b": None, "c": None}),
        (b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}),
        (b'{"a":"x\ny"}', {"a": "x\ny"}),
        (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a":"\xff"}', {"a": "�"}),
        # The two halves of a pair, each as three bytes.
        (b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', {"a": "\ud83d\ude00"}),
    ],
)
def test_nothing_is_lost_for_one_letter(said: bytes, value: Any) -> None:
    assert read_json(said) == value
    # What is written of it is strict.
    orjson.loads(json_text(read_json(said)))


@pytest.mark.parametrize("said", [b"", b"{", b"nonsense", b"[" * 100_000, b'{"a":1}}', b"9" * 100_000 + b"x"])
def test_what_is_no_json_is_a_value_error(said: bytes) -> None:
    with pytest.raises(ValueError):  # json's own, and ours
        read_json(said)


def test_a_number_of_any_length_is_read() -> None:
    assert read_json(b"9" * 100_000) == float("inf")
    assert json_text(read_json(b'{"a":' + b"9" * 100_000 + b"}")) == '{"a":null}'


def test_a_pair_that_was_cut_in_two_is_one_letter() -> None:
    said, half = joined("", "Hi \ud83d")
    assert (said, half) == ("Hi ", "\ud83d")
    assert joined(half, "\ude00!") == ("😀!", "")
    assert joined(half, "!") == ("�!", "")
    assert joined("", "\ude00") == ("�", "")
    assert joined("", "plain") == ("plain", "")
    assert mended("a\ud83d\ude00b\ud83d") == "a😀b�"


def test_what_is_too_deep_to_be_written_is_a_value_error() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="too deeply"):
        json_text(deep)
    assert json.loads(json_text(orjson.loads(b"[" * 500 + b"]" * 500)))
