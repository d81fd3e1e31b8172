"""Ids of what lies with a provider: which a request names, and which an answer brings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import RequestRefused
from pointsman.gateway.wire.provider_ids import made_in, named_ids

RESPONSES, CHAT, MESSAGES = Endpoint.RESPONSES, Endpoint.CHAT, Endpoint.MESSAGES


def says(*content: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(content)}]}


@pytest.mark.parametrize(
    ("endpoint", "fields", "found"),
    [
        (RESPONSES, {"previous_response_id": "resp_1"}, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"conversation": "conv_1"}, {"conversation": "conv_1"}),
        (RESPONSES, {"conversation": {"id": "conv_1"}}, {"conversation.id": "conv_1"}),
        (RESPONSES, {"previous_response_id": 7}, {"previous_response_id": ""}),
        (RESPONSES, {"input": [{"id": "msg_1"}]}, {"input[0].id": "msg_1"}),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "rs_1"}]}, {"input[0].id": "rs_1"}),
        (RESPONSES, {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, {"input[0].id": "rs_1"}),
        (RESPONSES, {"input": [{"type": "image_generation_call", "id": "ig_1"}]}, {"input[0].id": "ig_1"}),
        (RESPONSES, {"input": [{"type": ["odd"], "id": "x"}]}, {"input[0].id": "x"}),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]},
            {"input[0].content[0].file_id": "file_1"},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]},
            {"tools[0].vector_store_ids": "vs_2"},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
            {"tools[0].container": "cntr_1"},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file_1"]}}]},
            {"tools[0].container.file_ids": "file_1"},
        ),
        (
            CHAT,
            says({"type": "file", "file": {"file_id": "file_1"}}),
            {"messages[0].content[0].file.file_id": "file_1"},
        ),
        (
            CHAT,
            {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
            {"messages[0].audio.id": "audio_1"},
        ),
        (
            MESSAGES,
            says({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
            {"messages[0].content[0].source.file_id": "file_1"},
        ),
        (
            MESSAGES,
            says({"type": "container_upload", "file_id": "file_1"}),
            {"messages[0].content[0].file_id": "file_1"},
        ),
        (MESSAGES, {"container": "container_1"}, {"container": "container_1"}),
        (MESSAGES, {"container": {"id": "container_1"}}, {"container.id": "container_1"}),
        (
            MESSAGES,
            {"thread": {"type": "continue", "previous_message_id": "msg_1"}},
            {"thread.previous_message_id": "msg_1"},
        ),
    ],
)
def test_what_names_something_of_a_providers(endpoint: Endpoint, fields: dict[str, Any], found: dict[str, str]) -> None:
    named = named_ids(endpoint, orjson.dumps(fields), fields)
    assert {one.param: one.value for one in named} == found
    assert all(one.rename is None for one in named)


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (CHAT, {**says({"type": "text", "text": '{"file_id": "x"}'}), "audio": {"voice": "alloy", "format": "wav"}}),
        (CHAT, {"metadata": {"file_id": "mine"}, "tools": [{"function": {"parameters": {"file_id": "a"}}}]}),
        (CHAT, {"response_format": {"json_schema": {"schema": {"properties": {"thread_id": {"type": "string"}}}}}}),
        (MESSAGES, says({"type": "tool_use", "id": "toolu_1", "input": {"file_id": "a name of the tool's"}})),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "call_1", "output": "x"}]}),
        (RESPONSES, {"input": "file_id", "previous_response_id": None, "conversation": ""}),
        (Endpoint.RERANK, {"query": "x", "documents": [{"file_id": "a"}]}),
    ],
)
def test_what_only_looks_like_it(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    assert named_ids(endpoint, orjson.dumps(fields), fields) == ()


def test_an_escaped_letter_hides_no_field() -> None:
    body = rb'{"messages":[{"role":"user","content":[{"type":"file","file":{"file\u005fid":"file_1"}}]}]}'
    assert [one.value for one in named_ids(CHAT, body, orjson.loads(body))] == ["file_1"]


def test_an_item_that_says_all_it_holds_may_be_renamed() -> None:
    item = {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "x"}]}
    (named,) = named_ids(RESPONSES, b"", {"input": [item]})
    assert named.rename is not None
    named.rename("msg_2")
    assert item["id"] == "msg_2"


def test_no_more_ids_than_can_be_looked_up() -> None:
    fields = {"input": [{"type": "item_reference", "id": f"msg_{n}"} for n in range(1_001)]}
    with pytest.raises(RequestRefused, match="more than 1000 ids"):
        named_ids(RESPONSES, b"", fields)


def test_what_an_answer_brings() -> None:
    document = {
        "id": "resp_1",
        "output": [
            {"id": "rs_2", "type": "reasoning"},
            {"id": "ci_3", "type": "code_interpreter_call", "container_id": "cntr_4"},
            {"id": "msg_5", "content": [{"text": '"id":"resp_6"', "annotations": [{"file_id": "file_7"}]}]},
        ],
    }
    made = {"resp_1", "rs_2", "ci_3", "cntr_4", "msg_5", "file_7"}
    assert made_in(orjson.dumps(document)) == made
    assert made_in(b"event: x\ndata: %b\n\n" % orjson.dumps({"type": "x", "response": document})) == made
    assert made_in(orjson.dumps({"choices": [{"message": {"audio": {"id": "audio_1"}}}]})) == {"audio_1"}
    assert made_in(orjson.dumps({"id": "msg_1", "container": {"id": "container_2"}})) == {"msg_1", "container_2"}
    assert made_in(orjson.dumps({"id": "x" * 300})) == set()
    assert made_in(b'{"id": ') == set()


@pytest.mark.parametrize(
    "repeated",
    [
        {"tools": [{"parameters": {"id": "resp_9"}}]},
        {"metadata": {"id": "resp_9"}},
        {"text": {"format": {"schema": {"id": "resp_9"}}}},
        {"previous_response_id": "resp_9", "conversation": {"id": "resp_9"}},
        {"content": [{"type": "tool_use", "id": "toolu_1", "input": {"id": "resp_9", "file_id": "resp_9"}}]},
        {"output": [{"type": "local_shell_call", "action": {"env": {"id": "resp_9"}}}]},
        {"output": [{"type": "mcp_list_tools", "tools": [{"input_schema": {"id": "resp_9"}}]}]},
    ],
)
def test_what_anybody_could_write_into_an_answer_is_nothing_it_brings(repeated: dict[str, Any]) -> None:
    assert "resp_9" not in made_in(orjson.dumps({"id": "resp_1", **repeated}))
