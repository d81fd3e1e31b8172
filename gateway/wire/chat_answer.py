"""Reads a chat completion, whole or streamed, for translation into another API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.gateway.wire.json_values import count_in
from pointsman.gateway.wire.lenient_json import mended, read_json

#: Where servers put what a model thinks before it answers.
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
#: Parts of a message that say what the model thought.
_THOUGHT_PARTS: Final = ("thinking", "reasoning", "reasoning.text", "reasoning.summary")
#: Characters of an error's message.
_MOST_MESSAGE: Final = 16_384
#: Words for why an answer ends, as servers write them, in OpenAI's.
_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "max_length", "model_length"), "length"),
    "model_context_window_exceeded": "length",
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call", "function_calls"), "tool_calls"),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "refusal", "recitation"), "content_filter"),
    **dict.fromkeys(("error", "abort"), "error"),
    # No reason, spelt out.
    **dict.fromkeys(("null", "none"), ""),
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The account of an answer, as the expert gave it; None for what it does not say.

    Attributes:
        prompt: All tokens that were read.
        completion: All tokens that were written.
        cached: Of the prompt, those that were in the expert's cache.
        thinking: Of the completion, those that were thought.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    thinking: int | None = None

    def over(self, before: Tokens) -> Tokens:
        """This account, and what an earlier one of the same answer says where this one says nothing."""
        return Tokens(
            before.prompt if self.prompt is None else self.prompt,
            before.completion if self.completion is None else self.completion,
            before.cached if self.cached is None else self.cached,
            before.thinking if self.thinking is None else self.thinking,
        )


def tokens_of(document: Mapping[str, Any]) -> Tokens:
    """The account that a document gives."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return Tokens()
    return Tokens(
        _count(usage, "prompt_tokens", "input_tokens"),
        _count(usage, "completion_tokens", "output_tokens"),
        _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(account: object, *names: str) -> int | None:
    found = [count_in(account.get(name)) for name in names] if isinstance(account, dict) else []
    return next((count for count in found if count is not None), None)


def first_choice(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice, None where there is none."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        return None
    return next((one for one in choices if isinstance(one, dict) and one.get("index") in (0, None, "0")), None)


def part_of(choice: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A choice's `message` or `delta`; empty where it has none."""
    part = choice.get(name)
    return part if isinstance(part, dict) else {}


def thought_in(part: Mapping[str, Any]) -> str:
    """What the model thought, empty where it does not say; servers that say it twice mean it once."""
    said = next((part[name] for name in _THOUGHTS if isinstance(part.get(name), str) and part[name]), "")
    if said:
        return str(said)
    found = [*_parts(part.get("reasoning_details")), *_parts(part.get("content"))]
    return "".join(text for kind, one in found if kind in _THOUGHT_PARTS for text in _texts(one))


def said_in(part: Mapping[str, Any]) -> str:
    """The text of a message, a string or in parts; empty where there is none."""
    content = part.get("content")
    if isinstance(content, str):
        return content
    kinds = (*_THOUGHT_PARTS, "refusal")
    return "".join(text for kind, one in _parts(content) if kind not in kinds for text in _texts(one))


def refused_in(part: Mapping[str, Any]) -> str:
    """The words with which the model refuses; empty where it does not."""
    refusal = part.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal
    return "".join(text for kind, one in _parts(part.get("content")) if kind == "refusal" for text in _texts(one))


def _parts(content: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a content, each with its kind."""
    for one in content if isinstance(content, list) else [content]:
        if isinstance(one, str) and isinstance(content, list):
            yield "text", {"text": one}
        elif isinstance(one, dict):
            yield str(one.get("type") or "text") if isinstance(one.get("type"), str | None) else "text", one


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    """The text of a part, under whatever name its server puts it."""
    for name in ("text", "content", "thinking", "reasoning", "summary", "refusal"):
        value = part.get(name)
        if isinstance(value, str) and value:
            yield value
            return
        if isinstance(value, list):
            yield from (one["text"] for one in value if isinstance(one, dict) and isinstance(one.get("text"), str))
            return


def calls_in(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of functions, or pieces of them, each with a `function`; the one of the older API among them."""
    calls = part.get("tool_calls")
    found = [_call(one) for one in (calls if isinstance(calls, list) else [calls]) if isinstance(one, dict)]
    older = part.get("function_call")
    if isinstance(older, dict) and not found:
        found.append({"function": older})
    return found


def _call(call: dict[str, Any]) -> dict[str, Any]:
    if isinstance(call.get("function"), dict):
        return call
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {**call, "function": {"name": custom.get("name"), "arguments": custom.get("input")}}
    # Some put name and arguments beside the id.
    return {**call, "function": {name: call[name] for name in ("name", "arguments") if name in call}}


def reason_in(choice: Mapping[str, Any] | None) -> str | None:
    """Why a choice ends there, in OpenAI's words; None where it does not say."""
    reason = None if choice is None else choice.get("finish_reason")
    if not reason:
        return None
    # Whatever else stands there may be nested as deeply as can be read, and is no word.
    return _REASONS.get(reason.lower(), "stop") or None if isinstance(reason, str) else "stop"


def index_of(call: Mapping[str, Any]) -> int | None:
    """Which call a piece of one belongs to; None where it does not say."""
    return count_in(call.get("index"))


def text_of(value: object) -> str:
    """A text, empty where it is none."""
    return value if isinstance(value, str) else ""


def error_message(document: object) -> str | None:
    """What an error in OpenAI's shape, or a near one, says; None where it is no error."""
    if not isinstance(document, dict) or document.get("error") is None:
        return None
    error = document["error"]
    said = error.get("message") if isinstance(error, dict) else error
    # Whatever else stands there may be nested as deeply as can be read.
    return mended(said[:_MOST_MESSAGE]) if isinstance(said, str) and said else "The expert failed."


def object_in(body: bytes) -> dict[str, Any] | None:
    """A JSON object, None where it is none."""
    try:
        document = read_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
