"""LangChain's messages on one side, OpenAI's chat JSON on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    UsageMetadata,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

#: Response header -> key of `response_metadata`.
_NOTES = {
    "x-pointsman-decision": "decision_id",
    "x-pointsman-expert": "expert",
    "x-pointsman-category": "category",
    "x-pointsman-reason": "reason",
    "x-pointsman-cache": "cache",
    "x-pointsman-asked": "asked",
}
_FIGURES = {
    "x-pointsman-overhead-ms": "overhead_ms",
    "x-pointsman-total-cost-usd": "total_cost_usd",
    "x-pointsman-belief": "belief",
}


def to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The messages of a request body."""
    return [_assistant(message) if isinstance(message, AIMessage) else _other(message) for message in messages]


def from_reply(reply: Mapping[str, Any], headers: Mapping[str, str]) -> AIMessage:
    """The message of a whole answer."""
    choice = reply["choices"][0]
    said = choice["message"]
    calls: list[ToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in said.get("tool_calls") or ():
        name, arguments = call["function"]["name"], call["function"].get("arguments") or "{}"
        try:
            calls.append(tool_call(name=name, args=json.loads(arguments), id=call.get("id")))
        except ValueError as error:
            broken.append(invalid_tool_call(name=name, args=arguments, id=call.get("id"), error=str(error)))
    return AIMessage(
        content=said.get("content") or "",
        id=reply.get("id"),
        name=said.get("name"),
        additional_kwargs={"refusal": said["refusal"]} if said.get("refusal") else {},
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=_usage(reply.get("usage")),
        response_metadata={**_head(reply, headers), "finish_reason": choice.get("finish_reason")},
    )


def from_event(event: Mapping[str, Any], headers: Mapping[str, str] | None) -> AIMessageChunk:
    """The message chunk of an event; with `headers` for the first one, which tells of the decision."""
    choice: Mapping[str, Any] = event["choices"][0] if event.get("choices") else {}
    delta = choice.get("delta") or {}
    metadata = {} if headers is None else _head(event, headers)
    if choice.get("finish_reason"):
        metadata["finish_reason"] = choice["finish_reason"]
    return AIMessageChunk(
        content=delta.get("content") or "",
        id=event.get("id"),
        tool_call_chunks=[
            tool_call_chunk(
                name=(call.get("function") or {}).get("name"),
                args=(call.get("function") or {}).get("arguments"),
                id=call.get("id"),
                index=call.get("index"),
            )
            for call in delta.get("tool_calls") or ()
        ],
        usage_metadata=_usage(event.get("usage")),
        response_metadata=metadata,
    )


def _assistant(message: AIMessage) -> dict[str, Any]:
    """What a model said, whichever vendor's blocks it came in: its text and its calls."""
    calls = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    calls += [(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    wire: dict[str, Any] = {"role": "assistant", "content": str(message.text) or (None if calls else "")}
    if message.name:
        wire["name"] = message.name
    if calls:
        wire["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ]
    return wire


def _other(message: BaseMessage) -> dict[str, Any]:
    return dict(convert_to_openai_messages(message, pass_through_unknown_blocks=True))


def _head(reply: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model_name": reply.get("model"),
        "model_provider": "pointsman",
        **{key: headers[name] for name, key in _NOTES.items() if name in headers},
        **{key: float(headers[name]) for name, key in _FIGURES.items() if name in headers},
    }


def _usage(usage: Mapping[str, Any] | None) -> UsageMetadata | None:
    """Token counts under LangChain's names; what nobody counted stays out."""
    if not usage:
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    metadata = UsageMetadata(
        input_tokens=prompt, output_tokens=completion, total_tokens=usage.get("total_tokens") or prompt + completion
    )
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached is not None:
        metadata["input_token_details"] = InputTokenDetails(cache_read=cached)
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if reasoning is not None:
        metadata["output_token_details"] = OutputTokenDetails(reasoning=reasoning)
    return metadata
