"""What the clients' own SDKs make of a translated answer, and whether its events come in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic.types as messages
import openai.types.responses as responses
import orjson
from anthropic.lib.streaming._messages import accumulate_event
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from pydantic import BaseModel

_MESSAGE_EVENTS: dict[str, type[BaseModel]] = {
    "message_start": messages.RawMessageStartEvent,
    "message_delta": messages.RawMessageDeltaEvent,
    "message_stop": messages.RawMessageStopEvent,
    "content_block_start": messages.RawContentBlockStartEvent,
    "content_block_delta": messages.RawContentBlockDeltaEvent,
    "content_block_stop": messages.RawContentBlockStopEvent,
}
_RESPONSE_EVENTS: dict[str, type[BaseModel]] = {
    "response.created": responses.ResponseCreatedEvent,
    "response.in_progress": responses.ResponseInProgressEvent,
    "response.completed": responses.ResponseCompletedEvent,
    "response.incomplete": responses.ResponseIncompleteEvent,
    "response.failed": responses.ResponseFailedEvent,
    "response.output_item.added": responses.ResponseOutputItemAddedEvent,
    "response.output_item.done": responses.ResponseOutputItemDoneEvent,
    "response.content_part.added": responses.ResponseContentPartAddedEvent,
    "response.content_part.done": responses.ResponseContentPartDoneEvent,
    "response.output_text.delta": responses.ResponseTextDeltaEvent,
    "response.output_text.done": responses.ResponseTextDoneEvent,
    "response.refusal.delta": responses.ResponseRefusalDeltaEvent,
    "response.refusal.done": responses.ResponseRefusalDoneEvent,
    "response.function_call_arguments.delta": responses.ResponseFunctionCallArgumentsDeltaEvent,
    "response.function_call_arguments.done": responses.ResponseFunctionCallArgumentsDoneEvent,
    "response.reasoning_summary_part.added": responses.ResponseReasoningSummaryPartAddedEvent,
    "response.reasoning_summary_part.done": responses.ResponseReasoningSummaryPartDoneEvent,
    "response.reasoning_summary_text.delta": responses.ResponseReasoningSummaryTextDeltaEvent,
    "response.reasoning_summary_text.done": responses.ResponseReasoningSummaryTextDoneEvent,
}
_LAST = ("message_stop", "response.completed", "response.incomplete", "response.failed")
#: What the specification of open responses requires beside what OpenAI's own model does.
_REQUIRED = {
    "completed_at",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "max_tool_calls",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "background",
    "store",
    "truncation",
    "previous_response_id",
    "reasoning",
    "text",
    "usage",
}


def documents(data: bytes) -> Iterator[dict[str, Any]]:
    """The events of a stream that we wrote, pings left out; each as strict as we are."""
    for event in data.split(b"\n\n")[:-1]:
        if event.startswith(b":"):
            continue
        name, said = event.split(b"\n")
        document: dict[str, Any] = orjson.loads(said.removeprefix(b"data: "))
        assert name == b"event: " + document["type"].encode()
        if document["type"] != "ping":
            yield document


def read_message(body: bytes) -> messages.Message:
    """A whole message."""
    return messages.Message.model_validate_json(body)


def read_response(body: bytes) -> responses.Response:
    """A whole response."""
    assert orjson.loads(body).keys() >= _REQUIRED
    return responses.Response.model_validate_json(body)


def read_message_events(data: bytes) -> Any:
    """The message that the events of a stream make; None where they end with an error, or do not end."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    open_index: int | None = None
    begun = ended = 0
    for document in documents(data):
        assert not ended, "something after the end"
        kind = document["type"]
        if kind == "error":
            assert document["error"]["message"]
            return None
        assert (kind == "message_start") == (snapshot is None)
        if kind == "content_block_start":
            assert open_index is None
            assert document["index"] == begun
            open_index, begun = begun, begun + 1
            block = document["content_block"]
            assert block["type"] != "tool_use" or (block["id"] and block["name"])
        elif kind in ("content_block_delta", "content_block_stop"):
            assert document["index"] == open_index
            open_index = None if kind == "content_block_stop" else open_index
        elif kind == "message_delta":
            assert open_index is None
        ended = kind in _LAST
        event: Any = _MESSAGE_EVENTS[kind].model_validate(document)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    for buffer in buffers.values():
        assert not ended or isinstance(orjson.loads(buffer), dict)
    return snapshot if ended else None


def read_response_events(data: bytes) -> responses.Response | None:
    """The response at the end of a stream; None where it ends with an error, or does not end."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    items: dict[int, dict[str, Any]] = {}
    texts: dict[int, str] = {}
    done: dict[int, dict[str, Any]] = {}
    last: responses.Response | None = None
    for number, document in enumerate(documents(data)):
        assert last is None, "something after the end"
        assert document["sequence_number"] == number
        kind = document["type"]
        if kind == "error":
            assert document["message"]
            return None
        assert (kind == "response.created") == (number == 0)
        index = document.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(items)
            items[index], texts[index] = document["item"], ""
            assert document["item"]["type"] != "function_call" or document["item"]["call_id"]
            assert document["item"]["type"] != "function_call" or document["item"]["name"]
        elif index is not None:
            assert index in items
            assert index not in done, "something after the end of an item"
        if kind.endswith(".delta"):
            texts[index] += document["delta"]
        elif kind == "response.output_item.done":
            done[index] = document["item"]
            assert texts[index] == _said(document["item"])
        event: Any = _RESPONSE_EVENTS[kind].model_validate(document)
        state.handle_event(event)
        if kind in _LAST:
            assert [done[one] for one in sorted(done)] == document["response"]["output"]
            assert len(done) == len(items)
            last = read_response(orjson.dumps(document["response"]))
    return last


def _said(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return str(item["arguments"])
    parts = item["summary"] if item["type"] == "reasoning" else item["content"]
    return "".join(part.get("text", part.get("refusal", "")) for part in parts)
