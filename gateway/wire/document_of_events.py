"""The events of a stream put together to one document, for a client that asked for one where its expert streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.chat_answer import error_message, text_of
from pointsman.gateway.wire.chat_calls import CallReader
from pointsman.gateway.wire.lenient_json import json_text, read_json
from pointsman.gateway.wire.server_events import events_in

_BROKEN: Final = "The expert's stream ends before its answer does."
#: Fields of a delta that are no pieces of a text.
_WHOLE: Final = frozenset({"role", "tool_calls", "function_call", "id", "type", "name"})
_ENDS_RESPONSE: Final = ("response.completed", "response.incomplete", "response.failed")


def document_of(endpoint: Endpoint, data: bytes) -> bytes:
    """The document that says the same as a stream; an error where the stream says one, or does not come to its end.

    Args:
        endpoint: In whose shape the events are.
        data: All of them.
    """
    read = {Endpoint.MESSAGES: _message, Endpoint.RESPONSES: _response}.get(endpoint, _choices)
    documents = list(_documents(data))
    failed = next((message for one in documents if (message := error_message(one)) is not None), None)
    try:
        document = read(documents) if failed is None else None
        if document is not None:
            return json_text(document).encode()
    except ValueError:  # nested too deeply to be written
        pass
    error = {"message": failed or _BROKEN, "type": "server_error", "param": None, "code": None}
    return json_text({"error": error}).encode()


def _documents(data: bytes) -> Iterator[dict[str, Any]]:
    for name, text in events_in(data):
        try:
            document = read_json(text) if text else None
        except ValueError:
            continue
        if isinstance(document, dict):
            yield {"error": document} if name == b"error" and "error" not in document else document


class _Texts:
    """Texts that come in pieces, each under a name."""

    def __init__(self) -> None:
        self._texts: dict[str, StringIO] = {}

    def add(self, name: str, text: str) -> None:
        self._texts.setdefault(name, StringIO()).write(text)

    def all(self) -> dict[str, str]:
        return {name: text.getvalue() for name, text in self._texts.items()}


class _Choice:
    """A choice of a chat or a completion, as far as it has come."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.whole: dict[str, Any] = {}
        self.said = _Texts()
        self.calls = CallReader()
        self.arguments = _Texts()
        self.scores: dict[str, list[Any]] = {}

    def take(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        self.fields |= {
            name: value for name, value in choice.items() if value is not None and name not in ("delta", "text")
        }
        if isinstance(choice.get("text"), str):
            self.said.add("text", choice["text"])
        scores = choice.get("logprobs")
        for name, found in scores.items() if isinstance(scores, dict) else ():
            if isinstance(found, list):
                self.scores.setdefault(name, []).extend(found)
        for name, value in delta.items() if isinstance(delta, dict) else ():
            if isinstance(value, str) and name not in _WHOLE:
                self.said.add(name, value)
            elif name not in ("tool_calls", "function_call") and value is not None:
                before = self.whole.get(name)
                self.whole[name] = before + value if isinstance(before, list) and isinstance(value, list) else value
        for piece in self.calls.read(delta) if isinstance(delta, dict) else ():
            self.arguments.add(str(self.calls.calls.index(piece.call)), piece.text)
            piece.call.arguments.feed(piece.text)

    def document(self, index: int, *, chat: bool) -> dict[str, Any]:
        frame = {"index": index, **self.fields, "logprobs": self.scores or None}
        said = self.said.all()
        if not chat:
            return {**frame, "text": said.get("text", "")}
        message: dict[str, Any] = {"role": "assistant", "content": None, **self.whole, **said}
        arguments = self.arguments.all()
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments.get(str(n), "")}}
            for n, call in enumerate(self.calls.calls)
        ]
        if calls:
            message["tool_calls"] = calls
            message["content"] = message["content"] or None
        return {**frame, "message": message}


def _choices(documents: list[dict[str, Any]]) -> dict[str, Any] | None:
    frame: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    chat = True
    for document in documents:
        frame |= {name: value for name, value in document.items() if value is not None and name != "choices"}
        found = document.get("choices")
        for choice in found if isinstance(found, list) else ():
            if isinstance(choice, dict):
                chat = chat and "text" not in choice
                index = choice.get("index")
                choices.setdefault(index if type(index) is int else 0, _Choice()).take(choice)
    if not choices or any(not one.fields.get("finish_reason") for one in choices.values()):
        return None
    frame["object"] = "chat.completion" if chat else "text_completion"
    return {**frame, "choices": [choices[index].document(index, chat=chat) for index in sorted(choices)]}


def _message(documents: list[dict[str, Any]]) -> dict[str, Any] | None:
    message: dict[str, Any] = {}
    blocks: dict[Any, dict[str, Any]] = {}
    texts: dict[Any, _Texts] = {}
    for event in documents:
        kind, index, delta = event.get("type"), event.get("index"), event.get("delta")
        if kind == "message_start" and isinstance(event.get("message"), dict):
            message = dict(event["message"])
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            blocks[str(index)], texts[str(index)] = dict(event["content_block"]), _Texts()
        elif kind == "content_block_delta" and isinstance(delta, dict) and str(index) in blocks:
            _grow(blocks[str(index)], texts[str(index)], delta)
        elif kind == "message_delta":
            message |= delta if isinstance(delta, dict) else {}
            usage = event.get("usage")
            said = {name: one for name, one in usage.items() if one is not None} if isinstance(usage, dict) else {}
            message["usage"] = {**(message.get("usage") or {}), **said}
    if not message.get("stop_reason"):
        return None
    for index, block in blocks.items():
        for name, text in texts[index].all().items():
            if name != "partial_json":
                block[name] = text_of(block.get(name)) + text
            elif text:
                block["input"] = read_json(text.encode())
    return {**message, "content": list(blocks.values())}


def _grow(block: dict[str, Any], texts: _Texts, delta: Mapping[str, Any]) -> None:
    if "citation" in delta:
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    for name, value in delta.items():
        if name != "type" and isinstance(value, str):
            texts.add(name, value)


def _response(documents: list[dict[str, Any]]) -> dict[str, Any] | None:
    for event in reversed(documents):
        if event.get("type") in _ENDS_RESPONSE and isinstance(event.get("response"), dict):
            return dict(event["response"])
    return None
