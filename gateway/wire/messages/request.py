"""Translates a Messages request to a chat completions request.

`translated_fields.py` says what becomes of each field. Of what messages hold, cache marks and thinking of earlier turns
(signed by its maker, and unusable by any other) are dropped. What must not be lost (documents, tools that run on the
provider's side, fields that nobody here knows) is reported: only an expert that speaks Messages can answer such a
request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.chat_values import effort_of, user_of
from pointsman.gateway.wire.fields import at_least_one, invalid, missing, object_at, objects, text_at
from pointsman.gateway.wire.translated_fields import same_fields, unsaid_fields

#: Tokens of thinking, at the most -> how hard that is.
_BUDGETS: Final = ((4_096, "low"), (16_384, "medium"))
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def to_chat(payload: Mapping[str, Any], lost: list[str]) -> dict[str, Any]:
    """The body for chat completions.

    Args:
        payload: The client's, with `model` checked already.
        lost: Gets the places of what a chat cannot say and must not lose; it is left out of the chat.

    Raises:
        RequestRefused: A field is malformed.
    """
    chat = same_fields(payload)
    if payload.get("max_tokens") is not None:
        chat["max_tokens"] = at_least_one(payload["max_tokens"], "max_tokens")
    chat["messages"] = [*_system(payload.get("system"), "system", lost), *_messages(payload, lost)]
    if payload.get("stream"):
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    if payload.get("stop_sequences"):
        chat["stop"] = payload["stop_sequences"]
    metadata = payload.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("user_id"), str):
        chat["user"] = user_of(metadata["user_id"])
    lost += unsaid_fields(Endpoint.MESSAGES, payload)
    if payload.get("inference_geo") not in (None, "global"):
        lost.append("inference_geo")
    _tools(payload, chat, lost)
    _output(payload, chat, lost)
    return chat


def without_unsigned(payload: dict[str, Any]) -> bool:
    """Take thinking out that nobody signed: translated answers bring it, and an expert with the API refuses it.

    Args:
        payload: The client's; changed.

    Returns:
        Whether there was any.
    """
    turns = payload["messages"]
    kept = [_signed(turn) for turn in turns]
    if all(new is old for new, old in zip(kept, turns, strict=True)):
        return False
    payload["messages"] = [turn for turn in kept if turn is not None]
    return True


def _signed(turn: dict[str, Any]) -> dict[str, Any] | None:
    """A turn without such thinking, None where nothing else is in it, itself where there is none."""
    content = turn.get("content")
    if not isinstance(content, list) or turn.get("role") != "assistant":
        return turn
    blocks = [one for one in content if one.get("type") != "thinking" or one.get("signature")]
    if len(blocks) == len(content):
        return turn
    return {**turn, "content": blocks} if blocks else None


def _system(system: object, where: str, lost: list[str]) -> list[dict[str, Any]]:
    if system is None or system == "":
        return []
    if isinstance(system, str):
        return [{"role": "system", "content": system}]
    blocks = objects(system, where)
    texts = [_text_of(block, f"{where}[{index}]", lost) for index, block in enumerate(blocks)]
    return [{"role": "system", "content": "\n".join(texts)}] if texts else []


def _text_of(block: Mapping[str, Any], where: str, lost: list[str]) -> str:
    if block.get("type") != "text":
        lost.append(where)
        return ""
    return text_at(block, "text", where)


def _messages(payload: Mapping[str, Any], lost: list[str]) -> list[dict[str, Any]]:
    messages = payload.get("messages")
    if messages is None:
        raise missing("messages")
    if messages == []:
        raise invalid("messages", "a non-empty list")
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(objects(messages, "messages")):
        where = f"messages[{index}]"
        role, content = text_at(message, "role", where), message.get("content")
        if role == "system":
            turns += _system(content, f"{where}.content", lost)
        elif role not in ("user", "assistant"):
            raise invalid(f"{where}.role", "'user' or 'assistant'")
        elif isinstance(content, str):
            turns.append({"role": role, "content": content})
        else:
            blocks = objects(content, f"{where}.content")
            turns += (_user if role == "user" else _assistant)(blocks, f"{where}.content", lost)
    return turns


def _user(blocks: list[dict[str, Any]], where: str, lost: list[str]) -> list[dict[str, Any]]:
    """What functions gave first, each a message of its own; then what the user says."""
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        at = f"{where}[{index}]"
        if block.get("type") == "tool_result":
            texts, images = _result(block.get("content"), f"{at}.content", lost)
            results.append({"role": "tool", "tool_call_id": text_at(block, "tool_use_id", at), "content": texts})
            # A chat has text alone in what a function gave: its pictures follow as the user's.
            parts += images
        else:
            parts += _part(block, at, lost)
    return [*results, {"role": "user", "content": _plain(parts)}] if parts or not results else results


def _result(content: object, where: str, lost: list[str]) -> tuple[str, list[dict[str, Any]]]:
    if content is None or isinstance(content, str):
        return content or "", []
    parts = [
        part for index, block in enumerate(objects(content, where)) for part in _part(block, f"{where}[{index}]", lost)
    ]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(texts), [part for part in parts if part["type"] != "text"]


def _part(block: Mapping[str, Any], where: str, lost: list[str]) -> list[dict[str, Any]]:
    """The part of a chat message, nothing where there is none."""
    kind = block.get("type")
    if kind == "text":
        return [{"type": "text", "text": text_at(block, "text", where)}]
    if kind in ("image", "document"):
        source, at = object_at(block, "source", where), f"{where}.source"
        if kind == "document":
            if source.get("type") == "text":
                return [{"type": "text", "text": text_at(source, "data", at)}]
        elif source.get("type") == "base64":
            url = f"data:{text_at(source, 'media_type', at)};base64,{text_at(source, 'data', at)}"
            return [{"type": "image_url", "image_url": {"url": url}}]
        elif source.get("type") == "url":
            return [{"type": "image_url", "image_url": {"url": text_at(source, "url", at)}}]
    lost.append(where)
    return []


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """One text as a string, which every server takes; else the parts."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _assistant(blocks: list[dict[str, Any]], where: str, lost: list[str]) -> list[dict[str, Any]]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        at = f"{where}[{index}]"
        kind = block.get("type")
        if kind == "tool_use":
            arguments = orjson.dumps(object_at(block, "input", at)).decode()
            function = {"name": text_at(block, "name", at), "arguments": arguments}
            calls.append({"id": text_at(block, "id", at), "type": "function", "function": function})
        elif kind not in _THOUGHTS:
            texts.append(_text_of(block, at, lost))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    return [message]


def _tools(payload: Mapping[str, Any], chat: dict[str, Any], lost: list[str]) -> None:
    if payload.get("tools"):
        chat["tools"] = [
            one
            for index, tool in enumerate(objects(payload["tools"], "tools"))
            for one in _tool(tool, f"tools[{index}]", lost)
        ]
    choice = payload.get("tool_choice")
    if choice is None:
        return
    if not isinstance(choice, dict):
        raise invalid("tool_choice", "an object")
    kind = choice.get("type")
    if kind == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": text_at(choice, "name", "tool_choice")}}
    elif isinstance(kind, str) and kind in _CHOICES:
        chat["tool_choice"] = _CHOICES[kind]
    else:
        raise invalid("tool_choice.type", "'auto', 'any', 'tool' or 'none'")
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False


def _tool(tool: Mapping[str, Any], where: str, lost: list[str]) -> list[dict[str, Any]]:
    if tool.get("type") not in (None, "custom"):
        lost.append(where)
        return []
    function: dict[str, Any] = {"name": text_at(tool, "name", where)}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = object_at(tool, "input_schema", where)
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return [{"type": "function", "function": function}]


def _output(payload: Mapping[str, Any], chat: dict[str, Any], lost: list[str]) -> None:
    """The schema of the answer, and how hard to think about it."""
    config = payload.get("output_config")
    config = config if isinstance(config, dict) else {}
    shape = config.get("format") or payload.get("output_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        schema = {"name": "answer", "schema": object_at(shape, "schema", "output_config.format"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif shape:
        lost.append("output_config.format")
    effort = effort_of(config["effort"], "output_config.effort") if config.get("effort") is not None else None
    effort = effort or _thought(payload.get("thinking"))
    if effort is not None:
        chat["reasoning_effort"] = effort


def _thought(thinking: object) -> str | None:
    """How hard to think, as a number of tokens says it; None where it is left to the model, or not to think at all."""
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled" or not isinstance(budget, int):
        return None
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")
