"""The bytes of an OpenAI-compatible server, for backends that have no such bytes of their own.

Field order and content follow OpenAI's API reference (chat completions, completions, their streaming chunks, errors).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from pointsman.experts.protocols import Endpoint, Headers
from pointsman.experts.spec import Usage

JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)
SSE_HEADERS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
DONE = b"data: [DONE]\n\n"

_ID_PREFIX = {Endpoint.CHAT: "chatcmpl-", Endpoint.COMPLETIONS: "cmpl-"}
_OBJECT = {Endpoint.CHAT: "chat.completion", Endpoint.COMPLETIONS: "text_completion"}
_CHUNK_OBJECT = {Endpoint.CHAT: "chat.completion.chunk", Endpoint.COMPLETIONS: "text_completion"}


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % orjson.dumps(data)


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def usage_object(usage: Usage) -> dict[str, int]:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def wants_usage_chunk(payload: Mapping[str, Any]) -> bool:
    """Whether the caller asked for a last chunk with the token counts (`stream_options.include_usage`)."""
    options = payload.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def token_limit(payload: Mapping[str, Any]) -> int | None:
    """The caller's limit on generated tokens, under its new name or its old one."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = payload.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def content_text(content: object) -> str:
    """The text of a message: a string, or the text parts of a list of parts, one per line."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(part for part in parts if isinstance(part, str))


def last_user_text(endpoint: Endpoint, payload: Mapping[str, Any]) -> str:
    """What was asked last: the latest user message of a chat, or the prompt of a completion."""
    if endpoint is Endpoint.COMPLETIONS:
        prompt = payload.get("prompt")
        if isinstance(prompt, list):
            prompt = prompt[0] if prompt else ""
        return prompt if isinstance(prompt, str) else ""
    messages = payload.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


class AnswerWriter:
    """Writes one answer, whole or as a stream of events.

    Args:
        endpoint: Which shape.
        answer_id: Unique part of the answer's id.
        created_s: Unix time.
        model: The name in the answer.
        with_usage_field: The caller asked for a usage chunk: every chunk before it carries `"usage": null`.
    """

    __slots__ = ("_endpoint", "_frame")

    def __init__(
        self, endpoint: Endpoint, answer_id: str, created_s: int, model: str, *, with_usage_field: bool = False
    ) -> None:
        self._endpoint = endpoint
        self._frame: dict[str, Any] = {
            "id": _ID_PREFIX[endpoint] + answer_id,
            "object": _CHUNK_OBJECT[endpoint],
            "created": created_s,
            "model": model,
            "choices": [],
        }
        if with_usage_field:
            self._frame["usage"] = None

    def whole(self, text: str, finish_reason: str, usage: Usage | None, *, calls: str | None = None) -> bytes:
        """The answer as one JSON object; a usage nobody knows is null, never 0.

        With `calls` the text is the JSON of the arguments with which the answer calls that function.
        """
        choice: dict[str, Any] = {"index": 0}
        if calls is not None:
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [self._call(calls, text)]}
        elif self._endpoint is Endpoint.CHAT:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        choice["logprobs"] = None
        choice["finish_reason"] = finish_reason
        return orjson.dumps(
            {
                **self._frame,
                "object": _OBJECT[self._endpoint],
                "choices": [choice],
                "usage": usage_object(usage) if usage is not None else None,
            }
        )

    def opening(self, *, calls: str | None = None) -> bytes:
        """The event before the first text: the role, which only a chat has, and the function that is called."""
        if self._endpoint is Endpoint.COMPLETIONS:
            return b""
        if calls is not None:
            first = {"index": 0, **self._call(calls, "")}
            return self._event({"role": "assistant", "content": None, "tool_calls": [first]}, None)
        return self._event({"role": "assistant", "content": ""}, None)

    def piece(self, text: str) -> bytes:
        """An event with a piece of text."""
        if self._endpoint is Endpoint.CHAT:
            return self._event({"content": text}, None)
        return self._event(text, None)

    def arguments(self, text: str) -> bytes:
        """An event with a piece of the arguments of the function that is called."""
        return self._event({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}, None)

    def closing(self, finish_reason: str) -> bytes:
        """The event that says why the text ends."""
        return self._event({} if self._endpoint is Endpoint.CHAT else "", finish_reason)

    def usage(self, usage: Usage) -> bytes:
        """The event with the token counts and no choice."""
        return event({**self._frame, "usage": usage_object(usage)})

    def _call(self, name: str, arguments: str) -> dict[str, Any]:
        call_id = "call_" + self._frame["id"].removeprefix(_ID_PREFIX[Endpoint.CHAT])
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _event(self, content: Mapping[str, Any] | str, finish_reason: str | None) -> bytes:
        choice: dict[str, Any] = {"index": 0}
        choice["delta" if self._endpoint is Endpoint.CHAT else "text"] = content
        choice["logprobs"] = None
        choice["finish_reason"] = finish_reason
        return event({**self._frame, "choices": [choice]})
