"""Translates a Responses request to a chat completions request.

`translated_fields.py` says what becomes of each field. What must not be lost is reported: tools that run on the
provider's side, files, earlier responses, log-probabilities, encrypted reasoning, and fields that nobody here knows.
Only an expert that speaks Responses can answer such a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.chat_values import effort_of, user_of
from pointsman.gateway.wire.fields import at_least_one, invalid, missing, object_at, objects, text_at
from pointsman.gateway.wire.responses.client_tools import (
    CALLS,
    OUTPUTS,
    call_id_of,
    function_called,
    function_of,
    kinds_of,
    name_of,
    output_of,
)
from pointsman.gateway.wire.translated_fields import same_fields, unsaid_fields

_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_OF_FUNCTIONS: Final = ("name", "description", "parameters", "strict")
_CHOICES: Final = frozenset({"auto", "none", "required"})


def to_chat(payload: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    """The body for chat completions.

    Args:
        payload: The client's, with `model` checked already.
        lost: Gets the places of what a chat cannot say and must not lose; it is left out of the chat.

    Raises:
        RequestRefused: A field is malformed.
    """
    chat = same_fields(payload)
    lost += unsaid_fields(Endpoint.RESPONSES, payload)
    chat["messages"] = _turns(payload, lost)
    if payload.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = at_least_one(payload["max_output_tokens"], "max_output_tokens")
    if payload.get("stream"):
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    include = payload.get("include")
    if payload.get("top_logprobs"):
        lost.append("top_logprobs")
    elif isinstance(include, list) and "message.output_text.logprobs" in include:
        lost.append("include")
    if payload.get("reasoning") is not None:
        reasoning = object_at(payload, "reasoning", "")
        if reasoning.get("effort") is not None:
            chat["reasoning_effort"] = effort_of(reasoning["effort"], "reasoning.effort")
    if isinstance(payload.get("user"), str):
        chat["user"] = user_of(payload["user"])
    if payload.get("text") is not None:
        _text(object_at(payload, "text", ""), chat)
    _tools(payload, chat, lost)
    return chat


def _turns(payload: Mapping[str, Any], lost: list[str]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    instructions, asked = payload.get("instructions"), payload.get("input")
    if isinstance(instructions, str):
        turns.append({"role": "system", "content": instructions})
    elif instructions is not None:
        raise invalid("instructions", "a string")
    if isinstance(asked, str):
        return [*turns, {"role": "user", "content": asked}]
    if asked is None:
        if any(payload.get(name) for name in ("previous_response_id", "conversation", "prompt")):
            # The question stands there; a chat needs a turn, if only for its length to be counted.
            return [*turns, {"role": "user", "content": ""}]
        raise missing("input")
    if asked == []:
        raise invalid("input", "a string or a non-empty list")
    for index, item in enumerate(objects(asked, "input")):
        _item(item, f"input[{index}]", turns, lost)
    return turns or [{"role": "user", "content": ""}]


def _item(item: Mapping[str, Any], where: str, turns: list[dict[str, Any]], lost: list[str]) -> None:
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference"
    if not isinstance(kind, str):
        raise invalid(f"{where}.type", "a string")
    if kind == "message":
        role = text_at(item, "role", where)
        if role not in _ROLES:
            raise invalid(f"{where}.role", "'user', 'assistant', 'system' or 'developer'")
        content = _content(item.get("content"), f"{where}.content", lost)
        turns.append({"role": role, "content": content})
    elif kind == "function_call" or kind in CALLS:
        if kind in CALLS:
            function = function_called(item, where)
        else:
            function = {"name": text_at(item, "name", where), "arguments": text_at(item, "arguments", where)}
        call = {"id": call_id_of(item, where), "type": "function", "function": function}
        if turns and turns[-1]["role"] == "assistant":
            # What a model says and calls in one turn are several items here and one message there.
            turns[-1].setdefault("tool_calls", []).append(call)
        else:
            turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output" or kind in OUTPUTS:
        output = output_of(item)
        parts = _content(output, f"{where}.output", lost)
        if not isinstance(parts, str):
            if any(part["type"] != "text" for part in parts):
                lost.append(f"{where}.output")
            parts = "\n".join(part["text"] for part in parts if part["type"] == "text")
        turns.append({"role": "tool", "tool_call_id": call_id_of(item, where), "content": parts})
    elif kind != "reasoning" or item.get("encrypted_content"):
        lost.append(where)


def _content(content: object, where: str, lost: list[str]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(objects(content, where)):
        at = f"{where}[{index}]"
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            parts.append({"type": "text", "text": text_at(part, "text", at)})
        elif kind == "refusal":
            parts.append({"type": "text", "text": text_at(part, "refusal", at)})
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            if part.get("detail") is not None:
                image["detail"] = part["detail"]
            parts.append({"type": "image_url", "image_url": image})
        else:
            lost.append(at)
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _text(text: Mapping[str, Any], chat: dict[str, Any]) -> None:
    """The shape of the answer, and how wordy it is to be."""
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    shape = text.get("format")
    if not isinstance(shape, dict) or shape.get("type") == "text":
        return
    if shape.get("type") == "json_schema":
        schema = {name: value for name, value in shape.items() if name != "type" and value is not None}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    else:
        chat["response_format"] = shape


def _tools(payload: Mapping[str, Any], chat: dict[str, Any], lost: list[str]) -> None:
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(objects(payload.get("tools") or [], "tools")):
        where = f"tools[{index}]"
        if tool.get("type") == "function":
            text_at(tool, "name", where)
            function = {name: value for name, value in tool.items() if name in _OF_FUNCTIONS and value is not None}
        else:
            made = function_of(tool, where)
            if made is None or made["name"] in {one["function"]["name"] for one in tools}:
                lost.append(where)
                continue
            function = made
        tools.append({"type": "function", "function": function})
    if tools:
        chat["tools"] = tools
    choice = payload.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        chat["tool_choice"] = {"type": "function", "function": {"name": text_at(choice, "name", "tool_choice")}}
    elif isinstance(choice, dict) and name_of(choice) in kinds_of(payload.get("tools")):
        chat["tool_choice"] = {"type": "function", "function": {"name": name_of(choice)}}
    elif isinstance(choice, str) and choice in _CHOICES:
        if tools:
            chat["tool_choice"] = choice
    elif choice is not None:
        lost.append("tool_choice")
