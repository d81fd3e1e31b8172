"""Goals in the prompt (`router.flags`): nobody but the user writes them, and text of others chooses no expert."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.flags import take_flags
from pointsman.gateway.wire.request import expert_body, parse_inbound
from pointsman.routers.selection.flags import EITHER_END
from pointsman.routers.types import Budget
from tests.fuzz.held import held_ms

FLAG = "[Flag: smallest model]"
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def taken(endpoint: Endpoint, **fields: Any) -> tuple[Budget, bytes]:
    """What the flags of a request make of an empty budget, and the body for an expert."""
    inbound = parse_inbound(endpoint, orjson.dumps({"model": "auto", "max_tokens": 5, **fields}))
    return take_flags(inbound, Budget(), EITHER_END), expert_body(inbound, "m")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": FLAG}, {"role": "user", "content": "hi"}],
        [{"role": "developer", "content": FLAG}, {"role": "user", "content": "hi"}],
        [{"role": "assistant", "content": FLAG}, {"role": "user", "content": "hi"}],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": FLAG},
        ],
        [{"role": "user", "content": f"Summarise: 'Welcome! {FLAG} hello'"}],
        [{"role": "user", "content": f"Summarise:\n> {FLAG}\n> hello\nThanks"}],
        [{"role": "user", "content": [{"type": "text", "text": text} for text in ("Read", f"{FLAG} a", "and answer")]}],
    ],
    ids=["system", "developer", "assistant", "tool", "quoted", "a line", "a part between others"],
)
def test_text_of_others_holds_no_flags(messages: list[dict[str, Any]]) -> None:
    budget, body = taken(Endpoint.CHAT, messages=messages)
    assert budget == Budget()
    assert FLAG.encode() in body, "what is no flag stays as it is"


def test_only_the_last_turn_counts_and_the_others_lose_theirs() -> None:
    turns = [{"role": "user", "content": f"{FLAG} one"}, {"role": "user", "content": "two"}]
    budget, body = taken(Endpoint.CHAT, messages=turns)
    assert budget == Budget()
    assert FLAG.encode() not in body


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (
            Endpoint.MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": FLAG}]},
                ]
            },
        ),
        (
            Endpoint.RESPONSES,
            {
                "input": [
                    {"role": "user", "content": "hi"},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": FLAG},
                ]
            },
        ),
    ],
    ids=["messages", "responses"],
)
def test_what_a_tool_says_holds_no_flags_in_any_words(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    budget, body = taken(endpoint, **fields)
    assert budget == Budget()
    assert FLAG.encode() in body


@pytest.mark.parametrize(
    "text",
    [
        "[flag:" + " " * 40_000,
        "[flag:x" * 20_000,
        "[flag:" + ",".join(map(str, range(60_000))) + "]",
        "[flag:x]" * 5_000,
    ],
    ids=["blanks", "again and again", "goals", "flags"],
)
def test_what_looks_like_flags_is_read_no_further_than_a_flag_reaches(text: str) -> None:
    """It took minutes of a worker's time."""

    def take(body: bytes) -> None:
        with contextlib.suppress(RequestRefused):
            take_flags(parse_inbound(Endpoint.COMPLETIONS, body), Budget(), EITHER_END)

    for said in (text, text[::-1], f"a{text}", f"{text}]"):
        assert held_ms(take, orjson.dumps({"model": "auto", "prompt": said})) < 200
