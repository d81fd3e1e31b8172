"""The arguments of a call as the text of an object, in one piece and in many."""

from __future__ import annotations

import json
import random

import pytest

from pointsman.gateway.wire.object_text import ObjectText


def read(text: str, *, cut: bool = False, seed: int | None = None) -> str:
    reader = ObjectText()
    if seed is None:
        return reader.feed(text) + reader.close(cut=cut)
    chance, out, at = random.Random(seed), "", 0
    while at < len(text):
        size = chance.randint(1, 3)
        out += reader.feed(text[at : at + size])
        at += size
    return out + reader.close(cut=cut)


@pytest.mark.parametrize(
    ("said", "cut", "object_said"),
    [
        ('{"a":1}', False, {"a": 1}),
        (' {"a": [1, {"b": "c\\"d"}]} \n', False, {"a": [1, {"b": 'c"d'}]}),
        # Nothing is no argument, however it is written.
        *((said, False, {}) for said in ("", " ", "null", '""', "{}", "[]", "{ }")),
        # An object within a text, and one after an empty one.
        ('"{\\"a\\":1}"', False, {"a": 1}),
        ('{}{"a":2}', False, {"a": 2}),
        # Slips that can be told apart.
        ('{"a":1,}', False, {"a": 1}),
        ('{"a":[1,],}', False, {"a": [1]}),
        ('{"a":"x\ny\t"}', False, {"a": "x\ny\t"}),
        ('{"a":"\\d+ C:\\Users"}', False, {"a": "\\d+ C:\\Users"}),
        ('{"a":NaN,"b":-Infinity}', False, {"a": None, "b": None}),
        ('{"a":"\\ud83d\\ude00"}', False, {"a": "😀"}),
        ('{"a":"\\ud83d","b":"\\ude00"}', False, {"a": "�", "b": "�"}),
        # Cut short by a limit: what there is of it.
        ('{"path": "a.py", "text": "print(', True, {"path": "a.py", "text": "print("}),
        ('{"a":[1,{"b":tru', True, {"a": [1, {"b": None}]}),
        ('{"a":12', True, {"a": 12}),
        ('{"a', True, {"a": None}),
        ('{"a":', True, {"a": None}),
        ("{", True, {}),
        # No JSON: nothing is lost, and nothing is made up.
        ('{"path": a.py}', False, {"path": None, "INVALID_JSON": "a.py}"}),
        ('{"a":1 "b":2}', False, {"a": 1, "INVALID_JSON": '"b":2}'}),
        ("{'a': 1}", False, {"INVALID_JSON": "'a': 1}"}),
        ('{"a":1}}', False, {"a": 1, "INVALID_JSON": "}"}),
        ('{"a":1}{"b":2}', False, {"a": 1, "INVALID_JSON": '{"b":2}'}),
        ('{"a":"x', False, {"a": "x", "INVALID_JSON": ""}),
        ("[1,2]", False, {"INVALID_JSON": "[1,2]"}),
        ("3", False, {"INVALID_JSON": "3"}),
        ("ls -l", False, {"INVALID_JSON": "ls -l"}),
    ],
)
def test_what_a_text_says_as_an_object(said: str, cut: bool, object_said: dict[str, object]) -> None:
    at_once = read(said, cut=cut)
    assert json.loads(at_once or "{}") == object_said
    for seed in range(20):
        assert read(said, cut=cut, seed=seed) == at_once


def test_numbers_keep_their_digits() -> None:
    assert read('{"a":12345678901234567890123}') == '{"a":12345678901234567890123}'


def test_it_is_passed_on_while_it_comes() -> None:
    reader = ObjectText()
    assert reader.feed('{"a":"on') == '{"a":"on'
    assert not reader.complete
    # The last brace waits: something may come that belongs in the object.
    assert reader.feed('e"}') == 'e"'
    assert reader.complete
    assert reader.close(cut=False) == "}"


def test_depth_is_bounded() -> None:
    assert set(json.loads(read('{"a":' + "[" * 10_000))) == {"a", "INVALID_JSON"}
