"""Which piece of a streamed call belongs to which call."""

from __future__ import annotations

from typing import Any

import pytest

from pointsman.gateway.wire.chat_calls import CallReader

A, B = '{"a":1}', '{"b":2}'


def piece(text: Any = None, **fields: Any) -> dict[str, Any]:
    """A piece: `id` and `index` beside the function, `name` in it."""
    function = {"arguments": text} | ({"name": fields.pop("name")} if "name" in fields else {})
    return {**fields, "function": function}


def read(*deltas: Any) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call."""
    reader, said = CallReader(), {}
    for delta in deltas:
        found = delta if isinstance(delta, dict) and "function_call" in delta else {"tool_calls": delta}
        for chunk in reader.read(found):
            said[id(chunk.call)] = said.get(id(chunk.call), "") + chunk.text
            chunk.call.arguments.feed(chunk.text)
    return [(call.id, call.name, said.get(id(call), "")) for call in reader.calls]


TWO = [("x", "f", A), ("y", "g", B)]


@pytest.mark.parametrize(
    "deltas",
    [
        # As OpenAI writes them, one after the other and interleaved.
        ([piece("", index=0, id="x", name="f")], [piece(A, index=0)], [piece(B, index=1, id="y", name="g")]),
        (
            [piece("", index=0, id="x", name="f"), piece("", index=1, id="y", name="g")],
            [piece(A[:3], index=0)],
            [piece(B[:3], index=1)],
            [piece(A[3:], index=0), piece(B[3:], index=1)],
        ),
        # All with one number, or with none.
        ([piece(A, index=0, id="x", name="f")], [piece(B, index=0, id="y", name="g")]),
        (
            [piece("", index=0, id="x", name="f")],
            [piece(A, index=0)],
            [piece("", index=0, id="y", name="g")],
            [piece(B)],
        ),
        ([piece(A, id="x", name="f"), piece(B, id="y", name="g")],),
        ([piece("", index=None, id="x", name="f")], [piece(A)], [piece("", id="y", name="g")], [piece(B)]),
        # Numbers that are texts.
        ([piece(A, index="0", id="x", name="f")], [piece(B[:2], index="1", id="y", name="g")], [piece(B[2:], index=1)]),
        # Id and name with every piece, or empty ones.
        (
            [piece(A[:3], index=0, id="x", name="f")],
            [piece(A[3:], index=0, id="x", name="f")],
            [piece(B[:3], index=1, id="y", name="g")],
            [piece(B[3:], index=1, id="", name="")],
        ),
        # A name that comes later, alone or in parts, or with the first argument.
        (
            [piece("", index=0, id="x")],
            [piece("", index=0, name="f")],
            [piece(A, index=0)],
            [piece("", index=1, id="y", name=None)],
            [piece(B, index=1, name="g")],
        ),
        # An id that comes later, or another one for every piece.
        ([piece("", index=0, name="f")], [piece(A, index=0, id="x")], [piece(B, index=1, id="y", name="g")]),
        (
            [piece(A[:3], index=0, id="x", name="f")],
            [piece(A[3:], index=0, id="x2", name="f")],
            [piece(B[:3], index=0, id="y", name="g")],
            [piece(B[3:], index=0, id="y2")],
        ),
        # An object in place of its text; the name beside the id.
        ([piece({"a": 1}, index=0, id="x", name="f")], [{"index": 1, "id": "y", "name": "g", "arguments": B}]),
    ],
)
def test_two_calls_stay_two(deltas: tuple[Any, ...]) -> None:
    assert read(*deltas) == TWO


def test_calls_without_ids_stay_apart() -> None:
    assert read([piece(A, index=0, name="f")], [piece(B, index=0, name="g")]) == [("", "f", A), ("", "g", B)]
    assert read([piece(A, name="f")], [piece(A, name="f")]) == [("", "f", A), ("", "f", A)]


def test_one_id_for_two_calls_is_two_calls() -> None:
    assert read([piece(A, index=0, id="x", name="f")], [piece(B, index=1, id="x", name="g")]) == [
        ("x", "f", A),
        ("x", "g", B),
    ]


def test_a_name_in_parts_is_put_together() -> None:
    deltas = ([piece("", index=0, id="x", name="get_")], [piece("", index=0, name="weather")], [piece(A, index=0)])
    assert read(*deltas) == [("x", "get_weather", A)]


def test_the_older_api_calls_one_function() -> None:
    first, rest = {"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": A}}
    assert read(first, rest) == [("", "f", A)]


@pytest.mark.parametrize(
    "calls", [None, 1, "x", [None, 1, "x"], {}, [{}], [{"function": 1}], {"function": {"name": 1}}]
)
def test_what_is_no_call_breaks_nothing(calls: Any) -> None:
    assert all((call_id, name, text) == ("", "", "") for call_id, name, text in read(calls))
