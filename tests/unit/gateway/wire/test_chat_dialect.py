"""A chat as one expert knows it: the name of the limit, the roles of instructions, what may be said of thinking."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import ExpertSpec, InstructingRole, LimitField
from pointsman.gateway.wire.chat_dialect import body_for
from pointsman.gateway.wire.request import parse_inbound

ASK = {"role": "user", "content": "hi"}
OLD, NEW, EITHER = LimitField.MAX_TOKENS, LimitField.MAX_COMPLETION_TOKENS, LimitField.EITHER


def sent(endpoint: Endpoint, payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    spec = ExpertSpec("e", "openai_http", "m", **fields)
    body, read = body_for(spec, parse_inbound(endpoint, orjson.dumps({"model": "auto", **payload})), spec.model)
    said: dict[str, Any] = orjson.loads(body)
    assert said == {**read, "model": "m"}
    return said


@pytest.mark.parametrize(
    ("known", "asked", "limits"),
    [
        (OLD, {"max_completion_tokens": 7}, {"max_tokens": 7}),
        (OLD, {"max_tokens": 7}, {"max_tokens": 7}),
        (NEW, {"max_tokens": 7}, {"max_completion_tokens": 7}),
        (NEW, {"max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        (EITHER, {"max_tokens": 7}, {"max_tokens": 7}),
        (EITHER, {"max_tokens": 7, "max_completion_tokens": 5}, {"max_tokens": 7, "max_completion_tokens": 5}),
        (OLD, {"max_tokens": 7, "max_completion_tokens": 5}, {"max_tokens": 5}),
        (NEW, {"max_tokens": 7, "max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        (NEW, {"max_tokens": 7, "max_completion_tokens": None}, {"max_completion_tokens": 7}),
        (NEW, {"max_tokens": None}, {"max_tokens": None}),
        (NEW, {}, {}),
    ],
)
def test_the_limit_goes_by_its_known_name(known: LimitField, asked: dict[str, Any], limits: dict[str, Any]) -> None:
    assert sent(Endpoint.CHAT, {"messages": [ASK], **asked}, limit_field=known) == {
        "model": "m",
        "messages": [ASK],
        **limits,
    }


@pytest.mark.parametrize("known", [OLD, NEW])
def test_translated_limits_too(known: LimitField) -> None:
    message = sent(Endpoint.MESSAGES, {"max_tokens": 7, "messages": [ASK]}, limit_field=known)
    response = sent(Endpoint.RESPONSES, {"max_output_tokens": 7, "input": "hi"}, limit_field=known)
    assert message == response == {"model": "m", "messages": [ASK], known.value: 7}


def test_text_completions_have_one_name() -> None:
    asked = {"prompt": "a", "max_tokens": 7}
    assert sent(Endpoint.COMPLETIONS, asked, limit_field=NEW) == {"model": "m", **asked}


@pytest.mark.parametrize("said", ["hi", '"max_completion_tokens"'])
def test_bytes_stay_around_a_name(said: str) -> None:
    body = b'{ "model":"m",  "max_completion_tokens" : 7,"messages":[{"role":"user","content":%b}] }' % orjson.dumps(
        said
    )
    got, _ = body_for(ExpertSpec("e", "openai_http", "m", limit_field=OLD), parse_inbound(Endpoint.CHAT, body), "m")
    assert got == body.replace(b' "max_completion_tokens" :', b' "max_tokens" :')


def test_a_name_spelt_in_a_text_is_no_field() -> None:
    inside = {"role": "user", "content": [{"type": "text", "text": "max_completion_tokens"}]}
    asked = {"messages": [inside], "max_completion_tokens": 7}
    assert sent(Endpoint.CHAT, asked, limit_field=OLD) == {"model": "m", "messages": [inside], "max_tokens": 7}


def test_what_is_known_already_stays_byte_for_byte() -> None:
    body = (
        b'{"model":"m",  "max_tokens": 7, "messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}'
    )
    spec = ExpertSpec("e", "openai_http", "m", limit_field=OLD, instructing_role=InstructingRole.FIRST)
    assert body_for(spec, parse_inbound(Endpoint.CHAT, body), spec.model)[0] is body


RULES = {"role": "developer", "content": "rules"}
LATER = {"role": "system", "content": "later"}


@pytest.mark.parametrize(
    ("role", "turns"),
    [
        (InstructingRole.ANY, [RULES, ASK, LATER, ASK]),
        (InstructingRole.SYSTEM, [{"role": "system", "content": "rules"}, ASK, LATER, ASK]),
        (InstructingRole.FIRST, [{"role": "system", "content": "rules\n\nlater"}, ASK, ASK]),
    ],
)
def test_roles_of_instructions(role: InstructingRole, turns: list[Any]) -> None:
    said = sent(Endpoint.CHAT, {"messages": [RULES, ASK, LATER, ASK]}, instructing_role=role)
    assert said["messages"] == turns


@pytest.mark.parametrize("role", [InstructingRole.SYSTEM, InstructingRole.FIRST])
def test_instructions_of_other_apis_come_as_one(role: InstructingRole) -> None:
    said = sent(Endpoint.RESPONSES, {"instructions": "be", "input": [RULES, ASK, LATER]}, instructing_role=role)
    assert said["messages"] == [{"role": "system", "content": "be\n\nrules\n\nlater"}, ASK]
    asked = {"max_tokens": 1, "system": "be", "messages": [ASK, LATER, ASK]}
    said = sent(Endpoint.MESSAGES, asked, instructing_role=role)
    assert said["messages"] == [{"role": "system", "content": "be\n\nlater"}, ASK, ASK]


def test_parts_are_kept_as_parts() -> None:
    parts = [{"type": "text", "text": "a"}]
    turns = [{"role": "system", "content": parts}, ASK, LATER]
    said = sent(Endpoint.CHAT, {"messages": turns}, instructing_role=InstructingRole.FIRST)
    assert said["messages"] == [{"role": "system", "content": [*parts, {"type": "text", "text": "later"}]}, ASK]


def test_reasoning_effort_goes_where_it_is_known() -> None:
    asked = {"max_tokens": 1, "messages": [ASK], "output_config": {"effort": "low"}}
    assert sent(Endpoint.MESSAGES, asked)["reasoning_effort"] == "low"
    assert "reasoning_effort" not in sent(Endpoint.MESSAGES, asked, reasoning_effort=False)
    own = {"messages": [ASK], "reasoning_effort": "low"}
    # Who asks in the expert's own words hears what the expert thinks of them.
    assert sent(Endpoint.CHAT, own, reasoning_effort=False)["reasoning_effort"] == "low"
