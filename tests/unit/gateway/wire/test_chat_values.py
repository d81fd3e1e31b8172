"""Values of Messages and Responses that a chat takes in another form, and thinking that no other expert may get."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.request import Inbound, parse_inbound


def message(**fields: Any) -> Inbound:
    asked = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_inbound(Endpoint.MESSAGES, orjson.dumps(asked))


def response(**fields: Any) -> Inbound:
    return parse_inbound(Endpoint.RESPONSES, orjson.dumps({"model": "m", "input": "hi", **fields}))


@pytest.mark.parametrize(
    ("stated", "said"), [("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "high"), ("max", "high")]
)
def test_effort_is_at_most_high(stated: str, said: str) -> None:
    assert message(output_config={"effort": stated}).payload["reasoning_effort"] == said
    assert response(reasoning={"effort": stated}).payload["reasoning_effort"] == said


@pytest.mark.parametrize(
    ("thinking", "said"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 4096}, "low"),
        ({"type": "enabled", "budget_tokens": 4097}, "medium"),
        ({"type": "enabled", "budget_tokens": 31999}, "high"),
        ({"type": "adaptive"}, None),
        ({"type": "disabled"}, None),
    ],
)
def test_a_budget_for_thinking_is_an_effort(thinking: dict[str, Any], said: str | None) -> None:
    assert message(thinking=thinking).payload.get("reasoning_effort") == said
    assert message(thinking=thinking, output_config={"effort": "medium"}).payload["reasoning_effort"] == "medium"


def test_an_effort_that_is_no_word_is_refused() -> None:
    for ask, fields, param in (
        (message, {"output_config": {"effort": 3}}, "output_config.effort"),
        (response, {"reasoning": {"effort": []}}, "reasoning.effort"),
    ):
        with pytest.raises(RequestRefused) as refused:
            ask(**fields)
        assert refused.value.param == param


def test_a_long_user_is_named_by_64_characters() -> None:
    long = orjson.dumps({"device_id": "a" * 64, "session_id": "1"}).decode()
    for ask in (lambda user: message(metadata={"user_id": user}), lambda user: response(user=user)):
        assert ask("u" * 64).payload["user"] == "u" * 64
        named = ask(long).payload["user"]
        assert len(named) == 64
        assert named == ask(long).payload["user"] != ask(f"{long} ").payload["user"]


def test_unsigned_thinking_stays_out_of_what_an_expert_with_the_api_gets() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    unsigned = {"type": "thinking", "thinking": "ours", "signature": ""}
    text = {"type": "text", "text": "Hello."}
    user = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    turns = [
        user,
        {"role": "assistant", "content": [unsigned, signed, text]},
        user,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "ours"}]},
        user,
    ]
    translated = message(messages=turns).translated
    assert translated is not None
    sent = orjson.loads(translated.body_for("inner"))["messages"]
    assert sent == [user, {"role": "assistant", "content": [signed, text]}, user, user]


def test_signed_thinking_travels_byte_for_byte() -> None:
    body = (
        b'{ "model":"m","max_tokens":1, "messages":[{"role":"user","content":"a"},{"role":"assistant","content":'
        b'[ {"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"x"}]},'
        b'{"role":"user","content":"b"}]}'
    )
    translated = parse_inbound(Endpoint.MESSAGES, body).translated
    assert translated is not None
    assert translated.body_for("m") is body
