"""What an expert might answer to make the gateway work: up to 64 kB in each of the APIs it is understood in.

An answer is a whole HTTP response. Its first byte, before the response, chooses in what pieces it comes (`held.py`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

from tests.fuzz.held import PIECES_BYTES
from tests.fuzz.hostile import MOST_BYTES, document, text

_CALL: Final = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_USAGE: Final = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
_LOGPROBS: Final = {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}], "refusal": None}
_OF_CHAT: Final = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "inner"}
_TOKENS: Final = {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 1}
_TEXT_ITEM: Final = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
}
_ITEMS: Final = (
    _TEXT_ITEM,
    {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
    {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "a"}},
)
_RESPONSE: Final = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "inner",
    "status": "completed",
    "output": list(_ITEMS),
    "usage": {"input_tokens": 7, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}},
    "metadata": {},
}
_BLOCKS: Final = (
    {"type": "text", "text": "hi", "citations": []},
    {"type": "thinking", "thinking": "hm", "signature": "x"},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
)
_MESSAGE: Final = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "inner",
    "content": list(_BLOCKS),
    "stop_reason": "end_turn",
    "usage": _TOKENS,
}


def _chunk(delta: Any, **beside: Any) -> dict[str, Any]:
    return {**_OF_CHAT, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **beside}]}


#: API -> its events, in an order that makes sense.
EVENTS: Final[dict[str, tuple[Any, ...]]] = {
    "chat": (
        _chunk({"role": "assistant", "content": ""}),
        _chunk({"reasoning": "hm"}),
        _chunk({"reasoning_content": "hm"}),
        _chunk({"content": "hi"}, logprobs=_LOGPROBS),
        _chunk({"refusal": "no"}),
        _chunk({"tool_calls": [_CALL]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}),
        _chunk({"function_call": {"name": "f", "arguments": "{}"}}),
        _chunk({"audio": {"id": "a", "data": "aa", "transcript": "b"}, "annotations": [{"type": "url_citation"}]}),
        {"error": {"message": "no", "type": "a", "code": 1}},
        _chunk({}, finish_reason="stop"),
        {**_OF_CHAT, "choices": [], "usage": _USAGE},
        "[DONE]",
    ),
    "completions": (
        {**_OF_CHAT, "choices": [{"index": 0, "text": "hi", "logprobs": {"tokens": ["a"]}, "finish_reason": None}]},
        {**_OF_CHAT, "choices": [{"index": 1, "text": "", "finish_reason": "stop"}]},
        {"error": {"message": "no"}},
        {**_OF_CHAT, "choices": [], "usage": _USAGE},
        "[DONE]",
    ),
    "messages": (
        {"type": "message_start", "message": {**_MESSAGE, "content": []}},
        {"type": "ping"},
        *({"type": "content_block_start", "index": n, "content_block": one} for n, one in enumerate(_BLOCKS)),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": _TOKENS},
        {"type": "message_stop"},
    ),
    "responses": (
        {"type": "response.created", "response": {**_RESPONSE, "output": []}},
        *({"type": "response.output_item.added", "output_index": n, "item": one} for n, one in enumerate(_ITEMS)),
        {"type": "response.content_part.added", "item_id": "msg_1", "part": {"type": "output_text", "text": ""}},
        {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": "hi", "logprobs": []},
        {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "hm"},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"},
        {"type": "response.output_item.done", "output_index": 0, "item": _TEXT_ITEM},
        {"type": "error", "message": "no"},
        {"type": "response.completed", "response": _RESPONSE},
    ),
}
_CHOICE: Final = {
    "index": 0,
    "message": {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "reasoning": "hm",
        "tool_calls": [_CALL],
        "annotations": [],
        "audio": {"id": "a", "data": "aa"},
    },
    "logprobs": _LOGPROBS,
    "finish_reason": "stop",
}
#: API -> its answers in one piece.
WHOLES: Final[dict[str, tuple[Any, ...]]] = {
    "chat": (
        {**_OF_CHAT, "choices": [_CHOICE], "usage": _USAGE},
        {**_OF_CHAT, "choices": [{**_CHOICE, "message": {"content": [{"type": "text", "text": "hi"}]}}]},
    ),
    "completions": (
        {**_OF_CHAT, "choices": [{"index": 0, "text": "hi", "logprobs": {"tokens": ["a"]}}], "usage": _USAGE},
    ),
    "messages": (_MESSAGE, {"input_tokens": 7}),
    "responses": (_RESPONSE,),
    "embeddings": (
        {"object": "list", "model": "inner", "data": [{"index": 0, "embedding": [0.1, 1e-9]}], "usage": _USAGE},
        {"model": "inner", "data": [{"index": 0, "embedding": "AAAA"}], "usage": _USAGE},
        {"id": "1", "model": "inner", "results": [{"index": 0, "relevance_score": 0.5, "document": {"text": "a"}}]},
        {"model": "inner", "data": [{"index": 0, "object": "score", "score": 1.0}], "usage": _USAGE},
    ),
}
_FAILURES: Final = ({"error": {"message": "no", "type": "a", "param": None, "code": "b"}}, {"detail": [{"msg": "no"}]})


def twisted(rnd: random.Random, made: Any, size: int) -> Any:
    """A value with something else, of about so many bytes, somewhere in it: or a part of it again and again."""
    if isinstance(made, dict) and made and rnd.random() < 0.97:
        if rnd.random() < 0.05:
            return {**made, rnd.choice(("a", "model", "usage", "error", "id", text(rnd, 8))): document(rnd, size)}
        name = rnd.choice(sorted(made))
        return {**made, name: twisted(rnd, made[name], size)}
    if isinstance(made, list) and made and rnd.random() < 0.97:
        at = rnd.randrange(len(made))
        if rnd.random() < 0.5:
            some = [_numbered(rnd, made[at]) for _ in range(8)]
            count = max(1, size // (1 + len(_written(some[0]))))
            return [*made, *(some[index % 8] for index in range(count))]
        return [*made[:at], twisted(rnd, made[at], size), *made[at + 1 :]]
    if isinstance(made, str):
        return rnd.choice((text, text, text, document))(rnd, size)
    if isinstance(made, int | float):
        return rnd.choice((0, -1, 10**18, 1e308, True, "7", 2**63, rnd.randrange(10**6), None))
    return document(rnd, size)


def _numbered(rnd: random.Random, one: Any) -> Any:
    """The same under another number and name, or not."""
    if isinstance(one, dict) and rnd.random() < 0.7:
        other = {name: rnd.randrange(1000) for name in ("index", "output_index") if name in one}
        return {**one, **other, **({"id": f"m{rnd.randrange(10**6)}"} if "id" in one else {})}
    return one


def _written(made: Any) -> bytes:
    return made.encode() if made == "[DONE]" else json.dumps(made, separators=(",", ":")).encode()


def _event(rnd: random.Random, made: Any) -> bytes:
    said, end = _written(made), rnd.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r"))
    kind = made.get("type") if isinstance(made, dict) else None
    name = b"event: " + kind.encode("utf-8", "replace") + end if isinstance(kind, str) else b""
    if rnd.random() < 0.05:
        step = rnd.choice((1, 20, 400))
        return name + b"".join(b"data: " + said[at : at + step] + end for at in range(0, len(said), step)) + end
    return name + rnd.choice((b"data: ", b"data: ", b"data: ", b"data:")) + said + end + end


def _stream(rnd: random.Random, size: int, api: str) -> bytes:
    """The beginning of a stream, some events again and again, and its end."""
    kinds = EVENTS[api]
    chosen = [rnd.choice(kinds[:-1]) for _ in range(rnd.choice((1, 1, 2, 5)))]
    large = rnd.random() < 0.5
    each = size // len(chosen) if large else rnd.choice((2, 20, 200))
    made = [
        _event(rnd, twisted(rnd, _numbered(rnd, one), each) if rnd.random() < 0.8 and one != "[DONE]" else one)
        for one in chosen * (1 if large else 4)
    ]
    if rnd.random() < 0.1:
        odd = (
            b": " + text(rnd, 20).encode("utf-8", "replace"),
            b"\n",
            b"id: 1\nretry: 5\n\n",
            b"data\n\n",
            b"event:\n",
        )
        made.append(rnd.choice(odd))
    before = b"".join(_event(rnd, one) for one in kinds[: rnd.choice((0, 1, 3))])
    after = b"".join(_event(rnd, one) for one in kinds[-rnd.choice((1, 3, 3, 3)) :]) if rnd.random() < 0.9 else b""
    middle = b"".join(made)
    return before + (middle * max(1, size // max(1, len(middle))))[: MOST_BYTES - 2000] + after


def _whole(rnd: random.Random, size: int, api: str) -> bytes:
    made: Any = rnd.choice(WHOLES[api])
    many = rnd.choice((1, 1, 2, 4))
    for _ in range(many):
        made = twisted(rnd, made, size // many)
    said = _written(made)
    kind = rnd.random()
    if kind < 0.05:
        return said[: len(said) // 2]
    return b" " * (size // 2) + said if kind < 0.07 else said


def _answered(rnd: random.Random, head: bytes, body: bytes) -> bytes:
    pieces = bytes([rnd.choice((0, 0, 0, *range(len(PIECES_BYTES))))])
    body = body[:MOST_BYTES]
    if rnd.random() < 0.1:
        step = rnd.choice((1, 7, 200))
        body = body[: MOST_BYTES * step // (step + 6)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _cut(body, step))
        return pieces + head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    if rnd.random() < 0.5:
        head += b"content-length: %d\r\n" % len(body)
    return pieces + head + b"\r\n" + body


def _cut(body: bytes, step: int) -> list[bytes]:
    return [body[at : at + step] for at in range(0, len(body), step)]


_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: "


def _of(api: str) -> Callable[[random.Random, int], bytes]:
    def made(rnd: random.Random, size: int) -> bytes:
        kind = rnd.random()
        if kind < 0.05:
            failure = twisted(rnd, rnd.choice(_FAILURES), size)
            status = rnd.choice((b"400 Bad", b"429 No", b"502 No", b"404 No"))
            return _answered(rnd, b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n", _written(failure))
        if api in EVENTS and kind < 0.65:
            return _answered(rnd, _OK + b"text/event-stream\r\n", _stream(rnd, size, api))
        return _answered(rnd, _OK + b"application/json\r\n", _whole(rnd, size, api))

    return made


_NAMES: Final = (b"content-type", b"connection", b"set-cookie", b"retry-after", b"x-request-id", b"link", b"trailer")


def _heads(rnd: random.Random, size: int) -> bytes:
    """Many headers, long ones, interim responses, small chunks."""
    lines = []
    count = max(1, rnd.choice((1, 3, size // 20)))
    for _ in range(count):
        name = rnd.choice((*_NAMES, b"x-ratelimit-" + bytes(rnd.choices(b"abcdefg", k=3))))
        value = text(rnd, max(1, size // count - 20)).encode("utf-8", "replace")
        lines.append(name + b": " + value.translate(None, bytes(range(32)) + b"\x7f") + b"\r\n")
    kind = rnd.randrange(3)
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * (size // 40 if kind == 0 else 0)
    status = rnd.choice((b"200 OK", b"200 OK", b"404 No", b"503 " + b"a" * (size // 4), b"204 ", b"600 No"))
    head = interim + b"HTTP/1.1 " + status + b"\r\n" + (b"".join(lines) if kind == 1 else lines[0][:200])
    body = _whole(rnd, size if kind == 2 else 200, "chat")
    return _answered(rnd, head[:MOST_BYTES].rpartition(b"\r\n")[0] + b"\r\n", body)


#: What the client asked of whom -> what the expert answers.
EXPERT_FORMATS: Final[dict[str, Callable[[random.Random, int], bytes]]] = {
    "chat": _of("chat"),
    "completions": _of("completions"),
    "messages": _of("messages"),
    "responses": _of("responses"),
    "embeddings": _of("embeddings"),
    "messages-of-chat": _of("chat"),
    "responses-of-chat": _of("chat"),
    "gathered": _of("chat"),
    "heads": _heads,
}
