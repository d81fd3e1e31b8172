"""How requests name turns, and how turns are put in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.turns import (
    items_in,
    may_name_turns,
    named_turns,
    turn_of_messages,
    turn_of_responses,
    with_turns,
)

BODY = "0123456789abcdef" * 2
OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "id": f"rs_{BODY}_0", "summary": []},
    {"type": "message", "id": f"msg_{BODY}_1", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
]
RESPONSE = {"id": f"resp_{BODY}", "output": OUTPUT}
SAID = {"type": "message", "role": "assistant", "content": OUTPUT[1]["content"]}


@pytest.mark.parametrize(
    ("endpoint", "fields", "found"),
    [
        (Endpoint.RESPONSES, {"previous_response_id": f"resp_{BODY}"}, [f"resp_{BODY}"]),
        (Endpoint.RESPONSES, {"input": [{"type": "item_reference", "id": f"fc_{BODY}_12"}]}, [f"resp_{BODY}"]),
        (Endpoint.RESPONSES, {"input": [{"id": f"msg_{BODY}_i0"}]}, [f"resp_{BODY}"]),
        (Endpoint.RESPONSES, {"input": [{"id": f"msg_{BODY}_i0", "type": None}]}, [f"resp_{BODY}"]),
        (Endpoint.MESSAGES, {"thread": {"type": "continue", "previous_message_id": f"msg_{BODY}"}}, [f"msg_{BODY}"]),
        (Endpoint.RESPONSES, {"previous_response_id": "resp_68af"}, []),
        (Endpoint.RESPONSES, {"previous_response_id": 7}, []),
        (Endpoint.RESPONSES, {"previous_response_id": None}, []),
        (Endpoint.RESPONSES, {"input": [{"type": "item_reference", "id": None}]}, []),
        (Endpoint.RESPONSES, {"input": [{"type": "message", "id": f"msg_{BODY}_0", "content": "x"}]}, []),
        (Endpoint.RESPONSES, {"input": f"resp_{BODY}"}, []),
        (Endpoint.MESSAGES, {"thread": {"type": "create"}}, []),
        (Endpoint.MESSAGES, {"thread": "continue"}, []),
        (Endpoint.MESSAGES, {"thread": {"type": "continue", "previous_message_id": [BODY]}}, []),
    ],
)
def test_only_ids_of_ours_name_turns(endpoint: Endpoint, fields: dict[str, Any], found: list[str]) -> None:
    assert [one.turn_id for one in named_turns(endpoint, fields)] == found
    if found:
        assert may_name_turns(endpoint, orjson.dumps(fields))
        assert may_name_turns(endpoint, orjson.dumps(fields, option=orjson.OPT_INDENT_2))


def test_other_bodies_are_not_looked_at() -> None:
    for body in (b'{"input":"hi","id":"x","metadata":{"a":"b"}}', b'{"input":[{"id":"x","role":"user"}]}'):
        assert not may_name_turns(Endpoint.RESPONSES, body)
    assert not may_name_turns(Endpoint.MESSAGES, b'{"thread":{"type":"create"}}')
    assert not may_name_turns(Endpoint.CHAT, b'{"previous_response_id":"x"}')
    assert may_name_turns(Endpoint.MESSAGES, b'{"thread":{"type":"continue","previous_message\\u005fid":"x"}}')


def test_an_earlier_response_comes_first_without_thoughts_and_names() -> None:
    turn = turn_of_responses({"input": "q", "instructions": "not kept"}, RESPONSE)
    asked = {"model": "m", "previous_response_id": f"resp_{BODY}", "input": "next"}
    whole = with_turns(Endpoint.RESPONSES, asked, {f"resp_{BODY}": turn})
    question = {"type": "message", "role": "user", "content": "q"}
    assert whole == {"model": "m", "input": [question, SAID, {"role": "user", "content": "next"}]}
    assert asked["previous_response_id"], "what was given stays as it is"
    assert with_turns(Endpoint.RESPONSES, {**asked, "input": None}, {f"resp_{BODY}": turn})["input"] == [question, SAID]


def test_references_are_put_in_where_they_stand_and_others_stay() -> None:
    turn = turn_of_responses({"input": [{"role": "user", "content": "q"}]}, RESPONSE)
    elsewhere = {"type": "item_reference", "id": "msg_68af"}
    asked = {
        "input": [
            {"id": items_in(turn)[0]["id"]},
            {"type": "item_reference", "id": f"rs_{BODY}_0"},
            elsewhere,
            {"type": "item_reference", "id": f"msg_{BODY}_1"},
        ]
    }
    whole = with_turns(Endpoint.RESPONSES, asked, {f"resp_{BODY}": turn})
    assert whole["input"] == [{"type": "message", "role": "user", "content": "q"}, elsewhere, SAID]
    with pytest.raises(RequestRefused) as lost:
        with_turns(
            Endpoint.RESPONSES,
            {"input": [{"type": "item_reference", "id": f"msg_{BODY}_9"}]},
            {f"resp_{BODY}": turn},
        )
    assert (lost.value.code, lost.value.param) == (Code.ID_NOT_FOUND, "input[0].id")


def test_a_thread_has_its_own_system_and_tools_unless_others_are_stated() -> None:
    content = [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "a"}]
    user = {"role": "user", "content": "q"}
    turn = turn_of_messages({"system": "S", "tools": [], "messages": [user], "max_tokens": 1}, content)
    thread = {"type": "continue", "previous_message_id": f"msg_{BODY}"}
    found = {f"msg_{BODY}": turn}
    whole = with_turns(Endpoint.MESSAGES, {"max_tokens": 9, "thread": thread, "messages": [user]}, found)
    messages = [user, {"role": "assistant", "content": content[1:]}, user]
    assert whole == {"system": "S", "tools": [], "max_tokens": 9, "messages": messages, "thread": {"type": "create"}}
    other = with_turns(Endpoint.MESSAGES, {"system": "T", "thread": thread, "messages": []}, found)
    assert (other["system"], other["messages"]) == ("T", messages[:2])
