"""Fields of the outermost object, found without making the document."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from pointsman.experts.spec import Usage
from pointsman.gateway.wire import top_level
from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.reply import usage_in, with_model_anywhere
from pointsman.gateway.wire.top_level import span_at, values_at_top

_NAMES = ("model", "usage", "a", "m\\", '"', '"model"', "\\\\")
_WORDS = (1, None, True, "model", "usage", '\\"model":', "\\\\", "{", "}]", '"', "\\", "")


def _bent(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(7)
    if kind == 0 and depth < 4:
        return {chance.choice(_NAMES): _bent(chance, depth + 1) for _ in range(chance.randrange(4))}
    if kind == 1 and depth < 4:
        return [_bent(chance, depth + 1) for _ in range(chance.randrange(4))]
    return chance.choice(_WORDS)


def test_what_is_found_is_what_a_parser_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    for _ in range(5000):
        document = {chance.choice(_NAMES): _bent(chance, 1) for _ in range(chance.randrange(6))}
        separators = chance.choice([(",", ":"), (" , ", " : ")])
        body = b" \n" * chance.randrange(2) + json.dumps(document, separators=separators).encode()
        monkeypatch.setattr(top_level, "_BLOCK_BYTES", chance.randrange(1, 20))
        found = values_at_top(body + b'{"model":1}' * chance.randrange(2), (b"model", b"usage"))
        assert {name.decode() for name in found} == document.keys() & {"model", "usage"}
        for name, begin in found.items():
            value = document[name.decode()]
            assert json.JSONDecoder().raw_decode(body[begin:].decode())[0] == value
            said = span_at(body, begin, 10_000)
            assert (said is None) is not isinstance(value, str | list | dict)
            assert said is None or json.loads(said) == value


@pytest.mark.parametrize(
    "body", [b"", b" ", b"[]", b"1", b'{"usage"', b'{"usage":', b'{"us', b"{" * 300, b'{"model":"']
)
def test_what_is_no_document_has_no_fields(body: bytes) -> None:
    for name, begin in values_at_top(body, (b"model", b"usage")).items():
        assert span_at(body, begin, 100) is None, name


_PAD = b'"a":[' + b",".join([b'{"model":"y","usage":{"prompt_tokens":1}}'] * 20_000) + b"],"


@pytest.mark.parametrize(
    "said",
    [
        b'{%b"usage":{"prompt_tokens":7,"completion_tokens":2},"model":"x"}',
        b'{"usage":{"prompt_tokens":7,"completion_tokens":2},%b"model":"x"}',
        b'{"type":"response.completed","response":{%b"usage":{"input_tokens":7,"output_tokens":2}},"model":"x"}',
        b'{"message":{%b"usage":{"input_tokens":7,"output_tokens":2}},"model":"x"}',
    ],
)
def test_a_large_document_says_the_same_as_a_small_one(said: bytes) -> None:
    small, large = said % b"", said % _PAD
    assert len(large) > LARGE_BYTES
    assert usage_in(small) == usage_in(large) == Usage(7, 2)
    assert with_model_anywhere(large, "ours").endswith(b'"model":"ours"}')
    assert usage_in(large.replace(b"usage", b"Usage")) is None


@pytest.mark.parametrize(
    "unit", [b'{"model":"y"},', b'"\\', b"\\", b"[", b'"model":1,', b'"model":"', b'"', b"{}", b"1,"]
)
def test_eight_megabytes_of_anything_take_time_in_proportion(unit: bytes) -> None:
    body = b'{"a":' + unit * (8 * 1024 * 1024 // len(unit))
    began_s = time.thread_time()
    with_model_anywhere(body, "ours")
    usage_in(body)
    assert time.thread_time() - began_s < 10
