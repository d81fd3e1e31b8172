"""A document where a stream was asked for, and a stream where a document was."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.document_of_events import document_of
from pointsman.gateway.wire.events_of_document import events_of

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"model":"x"}'}}
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
            "logprobs": None,
            "finish_reason": "tool_calls",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": "hi"},
            "logprobs": {"content": [{"token": "hi", "logprob": -1.0}]},
            "finish_reason": "stop",
        },
    ],
    "usage": USAGE,
}
COMPLETION = {
    "id": "1",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "text": "hi", "logprobs": None, "finish_reason": "length"}],
    "usage": USAGE,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "hi", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"model": "x"}},
        {"type": "tool_use", "id": "u", "name": "g", "input": {}},
        {"type": "redacted_thinking", "data": "d"},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "msg",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


@pytest.mark.parametrize(
    ("endpoint", "document"),
    [
        (Endpoint.CHAT, CHAT),
        (Endpoint.COMPLETIONS, COMPLETION),
        (Endpoint.MESSAGES, MESSAGE),
        (Endpoint.RESPONSES, RESPONSE),
    ],
)
def test_there_and_back_nothing_is_lost(endpoint: Endpoint, document: dict[str, Any]) -> None:
    told = events_of(endpoint, orjson.dumps(document), with_usage=True)
    assert told is not None
    assert orjson.loads(document_of(endpoint, told)) == document


def test_an_account_goes_to_who_asked_for_it() -> None:
    told = events_of(Endpoint.CHAT, orjson.dumps(CHAT))
    assert told is not None
    assert b"usage" not in told
    assert told.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.MESSAGES, Endpoint.RESPONSES])
def test_a_stream_without_its_end_is_an_error(endpoint: Endpoint) -> None:
    told = events_of(endpoint, orjson.dumps({Endpoint.CHAT: CHAT, Endpoint.COMPLETIONS: COMPLETION}.get(endpoint, {})))
    events = (told or b"data: {}\n\n").split(b"\n\n")
    short = b"\n\n".join(one for one in events if b"finish_reason" not in one or b'"finish_reason":null' in one)
    assert "error" in orjson.loads(document_of(endpoint, short))
    failed = b'event: error\ndata: {"message":"out of memory"}\n\n'
    assert orjson.loads(document_of(endpoint, short + failed))["error"]["message"] == "out of memory"


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"{}", b'{"choices":{}}', b'{"content":"x"}', b'{"error":{}}']
)
def test_what_is_no_answer_has_no_events(body: bytes) -> None:
    for endpoint in Endpoint:
        assert events_of(endpoint, body) is None
