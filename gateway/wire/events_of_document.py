"""A whole answer as the events of a stream, for a client that asked for one where its expert sent a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.lenient_json import json_text, read_json

_Event = tuple[str, dict[str, Any]]
#: Of a message, what its end says rather than its beginning.
_ENDS_MESSAGE: Final = ("stop_reason", "stop_sequence")
#: Blocks in which a model calls a tool.
_CALLS: Final = ("tool_use", "server_tool_use", "mcp_tool_use")
#: Items that say one text in pieces -> the field it stands in, and the events that say it.
_TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
    "mcp_call": ("arguments", "mcp_call_arguments"),
}
_PARTS: Final = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


def events_of(endpoint: Endpoint, body: bytes, *, with_usage: bool = False) -> bytes | None:
    """The events that say the same as an answer; None where it is none, or its endpoint has no streams.

    Args:
        endpoint: What the client called.
        body: The answer, in the shape of that endpoint.
        with_usage: Whether the client of a chat or a completion asked for an event with the account.
    """
    try:
        document = read_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    try:
        if endpoint is Endpoint.MESSAGES and isinstance(document.get("content"), list):
            return b"".join(_named(kind, {"type": kind, **fields}) for kind, fields in _of_message(document))
        if endpoint is Endpoint.RESPONSES and isinstance(document.get("output"), list):
            numbered = enumerate(_of_response(document))
            return b"".join(
                _named(kind, {"type": kind, "sequence_number": number, **fields}) for number, (kind, fields) in numbered
            )
        if endpoint in (Endpoint.CHAT, Endpoint.COMPLETIONS) and isinstance(document.get("choices"), list):
            chunks = _of_choices(document, endpoint, with_usage)
            return b"".join(b"data: %b\n\n" % _json(one) for one in chunks) + b"data: [DONE]\n\n"
    except ValueError:  # nested too deeply to be written
        return None
    return None


def _json(document: Mapping[str, Any]) -> bytes:
    return json_text(document).encode()


def _named(kind: str, document: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json(document))


def _of_choices(document: Mapping[str, Any], endpoint: Endpoint, with_usage: bool) -> Iterator[dict[str, Any]]:
    frame = {name: value for name, value in document.items() if name not in ("choices", "usage")}
    chat = endpoint is Endpoint.CHAT
    frame["object"] = "chat.completion.chunk" if chat else "text_completion"
    if with_usage:
        frame["usage"] = None
    choices = [one for one in document["choices"] if isinstance(one, dict)]
    for number, choice in enumerate(choices):
        named = {"index": choice.get("index", number), "logprobs": choice.get("logprobs")}
        if chat:
            delta = _delta(choice.get("message"))
            yield {**frame, "choices": [{**named, "delta": delta, "finish_reason": None}]}
            rest = {name: one for name, one in choice.items() if name not in ("message", "logprobs")}
            ending = {**rest, "index": named["index"], "delta": {}, "logprobs": None}
        else:
            ending = {**choice, **named}
        yield {**frame, "choices": [{**ending, "finish_reason": choice.get("finish_reason") or "stop"}]}
    if with_usage and isinstance(document.get("usage"), dict):
        yield {**frame, "choices": [], "usage": document["usage"]}


def _delta(message: object) -> dict[str, Any]:
    delta = dict(message) if isinstance(message, dict) else {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [{**one, "index": n} for n, one in enumerate(calls) if isinstance(one, dict)]
    elif "tool_calls" in delta:
        del delta["tool_calls"]
    return delta


def _of_message(message: Mapping[str, Any]) -> Iterator[_Event]:
    said = message.get("usage")
    usage: dict[str, Any] = said if isinstance(said, dict) else {}
    ending = {name: message.get(name) for name in _ENDS_MESSAGE}
    begun = {**message, **dict.fromkeys(_ENDS_MESSAGE), "content": [], "usage": {**usage, "output_tokens": 0}}
    yield "message_start", {"message": begun}
    for index, block in enumerate(one for one in message["content"] if isinstance(one, dict)):
        start, deltas = _block(block)
        yield "content_block_start", {"index": index, "content_block": start}
        for delta in deltas:
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    yield "message_delta", {"delta": ending, "usage": usage}
    yield "message_stop", {}


def _block(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and the pieces of it."""
    kind = block.get("type")
    if kind == "text":
        citations = block.get("citations")
        cited = [{"type": "citations_delta", "citation": one} for one in citations or ()]
        start = {**block, "text": "", **({"citations": []} if cited else {})}
        return start, [*cited, {"type": "text_delta", "text": block.get("text") or ""}]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block.get("thinking") or ""}]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    if kind in _CALLS:
        said = json_text(block.get("input") or {})
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": said}] if said != "{}" else []
    return dict(block), []


def _of_response(response: Mapping[str, Any]) -> Iterator[_Event]:
    status = response.get("status")
    ending = status if status in ("incomplete", "failed") else "completed"
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(one for one in response["output"] if isinstance(one, dict)):
        place = {"output_index": index, "item_id": item.get("id")}
        yield "response.output_item.added", {"output_index": index, "item": _unsaid(item)}
        yield from _of_item(item, place)
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield f"response.{ending}", {"response": dict(response)}


def _unsaid(item: Mapping[str, Any]) -> dict[str, Any]:
    told = _TOLD.get(str(item.get("type")))
    nothing: dict[str, Any] = {name: [] for name in ("content", "summary") if isinstance(item.get(name), list)}
    said: dict[str, Any] = {} if told is None else {told[0]: ""}
    return {**item, **({"status": "in_progress"} if "status" in item else {}), **nothing, **said}


def _of_item(item: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[_Event]:
    told = _TOLD.get(str(item.get("type")))
    if told is not None:
        field, event = told
        text = item.get(field) or ""
        yield f"response.{event}.delta", {**place, "delta": text}
        named = {"name": item["name"]} if item.get("type") == "function_call" and "name" in item else {}
        yield f"response.{event}.done", {**place, **named, field: text}
    for number, part in enumerate(_objects(item.get("summary"))):
        at = {**place, "summary_index": number}
        text = part.get("text") or ""
        yield "response.reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**at, "delta": text}
        yield "response.reasoning_summary_text.done", {**at, "text": text}
        yield "response.reasoning_summary_part.done", {**at, "part": part}
    for number, part in enumerate(_objects(item.get("content"))):
        kind = str(part.get("type"))
        said = _PARTS.get(kind)
        at = {**place, "content_index": number}
        yield "response.content_part.added", {**at, "part": part if said is None else {**part, said: ""}}
        if said is not None:
            text, scores = part.get(said) or "", {"logprobs": part.get("logprobs") or []}
            beside = scores if kind == "output_text" else {}
            yield f"response.{kind}.delta", {**at, "delta": text, **beside}
            yield f"response.{kind}.done", {**at, said: text, **beside}
        yield "response.content_part.done", {**at, "part": part}


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
