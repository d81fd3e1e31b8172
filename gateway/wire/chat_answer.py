"""Reads a chat completion, whole or streamed, for translation into another API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

#: Where servers put what a model thinks before it answers.
_THOUGHTS: Final = ("reasoning_content", "reasoning")
#: Characters of an error's message.
_MOST_MESSAGE: Final = 16_384


@dataclass(frozen=True, slots=True)
class Tokens:
    """The account of an answer, as the expert gave it.

    Attributes:
        prompt: All tokens that were read.
        completion: All tokens that were written.
        cached: Of the prompt, those that were in the expert's cache; None where it does not say.
        thinking: Of the completion, those that were thought; None where it does not say.
    """

    prompt: int
    completion: int
    cached: int | None = None
    thinking: int | None = None


def tokens_of(document: Mapping[str, Any]) -> Tokens | None:
    """The account, None where there is none."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if type(prompt) is not int or type(completion) is not int:
        return None
    return Tokens(
        prompt,
        completion,
        _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(details: object, name: str) -> int | None:
    value = details.get(name) if isinstance(details, dict) else None
    return value if type(value) is int else None


def first_choice(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice, None where there is none."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        return None
    return next((one for one in choices if isinstance(one, dict) and one.get("index", 0) == 0), None)


def part_of(choice: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A choice's `message` or `delta`; empty where it has none."""
    part = choice.get(name)
    return part if isinstance(part, dict) else {}


def thought_in(part: Mapping[str, Any]) -> str:
    """What the model thought, empty where it does not say."""
    return next((part[name] for name in _THOUGHTS if isinstance(part.get(name), str)), "")


def said_in(part: Mapping[str, Any], name: str = "content") -> str:
    """Text under a name, empty where there is none."""
    text = part.get(name)
    return text if isinstance(text, str) else ""


def calls_in(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of functions, or pieces of them, each with a `function`."""
    calls = part.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return [call for call in found if isinstance(call.get("function"), dict)]


def reason_in(choice: Mapping[str, Any] | None) -> str | None:
    """Why a choice ends there; None where it does not say."""
    reason = None if choice is None else choice.get("finish_reason")
    if not reason:
        return None
    # Whatever else stands there may be nested as deeply as can be read, and is no word.
    return reason if isinstance(reason, str) else "stop"


def index_of(call: Mapping[str, Any]) -> int:
    """Which call a piece of one belongs to."""
    index = call.get("index")
    return index if type(index) is int else 0


def error_message(document: object) -> str | None:
    """What an error in OpenAI's shape, or a near one, says; None where it is no error."""
    if not isinstance(document, dict) or document.get("error") is None:
        return None
    error = document["error"]
    said = error.get("message") if isinstance(error, dict) else error
    # Whatever else stands there may be nested as deeply as can be read.
    return said[:_MOST_MESSAGE] if isinstance(said, str) and said else "The expert failed."


def object_in(body: bytes) -> dict[str, Any] | None:
    """A JSON object, None where it is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
