"""Turns that the gateway keeps of answers which it translated, so that a later request may send the new turn alone.

OpenAI's Responses name an earlier response (`previous_response_id`) or its items (`item_reference`), Anthropic's
threads the message they continue from. A chat expert keeps nothing, so what such a request names is put in before
anything else reads it: routing, limits and the expert see the whole conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.fields import invalid
from pointsman.gateway.wire.stateful_fields import THREAD

#: Of a turn as it is kept; another replica may run another version.
_VERSION: Final = 1
_ID_BODY: Final = "([0-9a-f]{32})"
#: The ids of our own answers: whatever has another form was made elsewhere.
_RESPONSE: Final = re.compile(f"resp_{_ID_BODY}")
_MESSAGE: Final = re.compile(f"msg_{_ID_BODY}")
_ITEM: Final = re.compile(f"[a-z]{{1,8}}_{_ID_BODY}_i?[0-9]{{1,6}}")

#: Where none of these stands in a body, it names no turn; but a letter of it may be escaped.
_HINTS: Final[Mapping[Endpoint, tuple[bytes, ...]]] = {
    Endpoint.RESPONSES: (b'"previous_response_id"', b'"item_reference"'),
    Endpoint.MESSAGES: (b'"previous_message_id"',),
    Endpoint.COUNT_TOKENS: (b'"previous_message_id"',),
}
_ESCAPED: Final = re.compile(rb"\\u00[4-7]")
#: An object that ends with its id may have nothing else, which is a reference too.
_BARE_ID: Final = re.compile(rb'"id"\s*:\s*"[^"]*"\s*(?:\}|,\s*"type"\s*:\s*null)')
#: Prefixes of the ids that are given to what a client sends without one.
_PREFIXES: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
#: A chat cannot say them, and nobody but their maker can read them.
_THOUGHTS: Final = ("thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class NamedTurn:
    """A turn of ours that a request names.

    Attributes:
        param: Where.
        value: The id that stands there.
        turn_id: Of the answer that ends the turn.
    """

    param: str
    value: str
    turn_id: str


def may_name_turns(endpoint: Endpoint, body: bytes) -> bool:
    """Whether it is worth a look at a body for turns that it names."""
    hints = _HINTS.get(endpoint)
    if hints is None:
        return False
    return (
        any(hint in body for hint in hints)
        or (endpoint is Endpoint.RESPONSES and _BARE_ID.search(body) is not None)
        or (b"\\u00" in body and _ESCAPED.search(body) is not None)
    )


def is_response(one: str) -> bool:
    """Whether an id has the form of those that the gateway gives to responses."""
    return _RESPONSE.fullmatch(one) is not None


def named_turns(endpoint: Endpoint, payload: Mapping[str, Any]) -> tuple[NamedTurn, ...]:
    """The turns that a request names, by ids of the form that the gateway gives."""
    if endpoint is not Endpoint.RESPONSES:
        previous = _previous_message(payload)
        return _of_ours(_MESSAGE, "thread.previous_message_id", previous, "msg")
    found = _of_ours(_RESPONSE, "previous_response_id", payload.get("previous_response_id"), "resp")
    items = payload.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if is_reference(item):
            found += _of_ours(_ITEM, f"input[{index}].id", item.get("id"), "resp")
    return found


def lost(named_param: str, value: str, *, unreachable: bool = False) -> RequestRefused:
    """The error for what a request names and nobody here has, in the words from which SDKs recover.

    Args:
        named_param: Where it stands.
        value: The id.
        unreachable: Whether it may lie where it cannot be looked for now.
    """
    why = " now: the store that holds it does not answer" if unreachable else ""
    shown = value[:80]
    if named_param.startswith(THREAD):
        sentence = f"{named_param}: no thread is found that continues from '{shown}'{why}. Send the whole conversation."
        return RequestRefused(Code.THREAD_NOT_FOUND, sentence, param=named_param)
    if named_param == "previous_response_id":
        sentence = f"Previous response with id '{shown}' not found{why}."
        return RequestRefused(Code.PREVIOUS_RESPONSE_NOT_FOUND, sentence, param=named_param)
    what = "Item" if named_param.startswith("input") else "Conversation"
    return RequestRefused(Code.ID_NOT_FOUND, f"{what} with id '{shown}' not found{why}.", param=named_param)


def with_turns(endpoint: Endpoint, payload: Mapping[str, Any], found: Mapping[str, bytes]) -> dict[str, Any]:
    """A request with the turns that it names put in.

    Args:
        endpoint: What the client called.
        payload: Its body, parsed.
        found: The kept turns by the ids of their answers, as `turn_of_messages` and `turn_of_responses` write them.

    Raises:
        RequestRefused: A turn has no such item.
    """
    turns = {turn_id: orjson.loads(raw) for turn_id, raw in found.items()}
    if endpoint is not Endpoint.RESPONSES:
        return _continued(payload, turns)
    whole, asked = dict(payload), payload.get("input")
    if not (asked is None or isinstance(asked, str | list)):
        return whole
    turns_before: list[Any] = []
    previous = turns.get(str(payload.get("previous_response_id")))
    if previous is not None:
        del whole["previous_response_id"]
        turns_before = [_nameless(item) for item in _items_of(previous) if _is_said(item)]
    whole["input"] = [*turns_before, *_resolved(asked, turns)]
    return whole


def response_in(raw: bytes) -> dict[str, Any]:
    """The response of a kept turn."""
    response: dict[str, Any] = orjson.loads(raw)["response"]
    return response


def items_in(raw: bytes) -> list[dict[str, Any]]:
    """The input items of a kept turn, as OpenAI lists them: what a message says is always in parts."""
    items: list[dict[str, Any]] = orjson.loads(raw)["input"]
    for item in items:
        content = item.get("content")
        if item["type"] == "message" and isinstance(content, str):
            kind = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": kind, "text": content}]
    return items


def turn_of_responses(payload: Mapping[str, Any], response: Mapping[str, Any]) -> bytes:
    """What is kept of a request to Responses and its answer.

    Args:
        payload: With all turns before it.
        response: The whole answer.
    """
    asked = payload.get("input")
    items = [{"type": "message", "role": "user", "content": asked}] if isinstance(asked, str) else asked or []
    body = str(response["id"]).removeprefix("resp_")
    named = [
        {"type": "message", **item, "id": item.get("id") or f"{_prefix_of(item)}_{body}_i{index}"}
        for index, item in enumerate(items)
    ]
    return orjson.dumps({"v": _VERSION, "input": named, "response": response})


def turn_of_messages(payload: Mapping[str, Any], content: list[dict[str, Any]]) -> bytes:
    """What is kept of a request to Messages and its answer.

    Args:
        payload: With all turns before it.
        content: The blocks of the answer.
    """
    reply = {"role": "assistant", "content": [block for block in content if block.get("type") not in _THOUGHTS]}
    held = {name: payload[name] for name in ("system", "tools") if payload.get(name) is not None}
    return orjson.dumps({"v": _VERSION, **held, "messages": [*payload["messages"], reply]})


def is_turn(raw: bytes) -> bool:
    """Whether this version can read it."""
    return raw.startswith(b'{"v":%d,' % _VERSION)


def opens_thread(payload: Mapping[str, Any]) -> bool:
    """Whether the conversation is to be held.

    Raises:
        RequestRefused: `thread` is malformed.
    """
    thread = payload.get(THREAD)
    if thread is None:
        return False
    if not isinstance(thread, dict):
        raise invalid(THREAD, "an object")
    kind = thread.get("type")
    if kind not in ("create", "continue"):
        raise RequestRefused(
            Code.THREAD_UNSUPPORTED, "thread.type: must be 'create' or 'continue'.", param="thread.type"
        )
    if kind == "continue" and not isinstance(thread.get("previous_message_id"), str):
        raise invalid("thread.previous_message_id", "a string")
    return True


def previous_message(payload: Mapping[str, Any]) -> str | None:
    """The message that a thread continues from; None where it begins, or where there is no thread."""
    previous = _previous_message(payload)
    return previous if isinstance(previous, str) else None


def _prefix_of(item: Mapping[str, Any]) -> str:
    return _PREFIXES.get(str(item.get("type")), "msg")


def _previous_message(payload: Mapping[str, Any]) -> object:
    thread = payload.get(THREAD)
    return thread.get("previous_message_id") if isinstance(thread, dict) and thread.get("type") == "continue" else None


def _of_ours(form: re.Pattern[str], param: str, value: object, prefix: str) -> tuple[NamedTurn, ...]:
    match = form.fullmatch(value) if isinstance(value, str) else None
    return () if match is None else (NamedTurn(param, match[0], f"{prefix}_{match[1]}"),)


def is_reference(item: object) -> bool:
    """Whether an input item stands for another one."""
    if not isinstance(item, dict):
        return False
    return item.get("type") == "item_reference" or (item.get("type") is None and set(item) <= {"id", "type"})


def _continued(payload: Mapping[str, Any], turns: Mapping[str, Any]) -> dict[str, Any]:
    turn = turns.get(str(_previous_message(payload)))
    if turn is None:
        return dict(payload)
    new = payload.get("messages")
    held = {name: turn[name] for name in ("system", "tools") if name in turn}
    messages = [*turn["messages"], *(new if isinstance(new, list) else ())]
    # An expert that holds threads itself begins one with all of it.
    return {**held, **payload, "messages": messages, THREAD: {"type": "create"}}


def _items_of(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*turn["input"], *turn["response"]["output"]]


def _is_said(item: Mapping[str, Any]) -> bool:
    """Thoughts without their maker's seal say nothing to a model."""
    return item.get("type") != "reasoning" or bool(item.get("encrypted_content"))


def _nameless(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item that the gateway named, as a provider takes it."""
    return {name: value for name, value in item.items() if name not in ("id", "status")}


def _resolved(asked: str | list[Any] | None, turns: Mapping[str, Any]) -> list[Any]:
    if asked is None:
        return []
    if isinstance(asked, str):
        return [{"role": "user", "content": asked}]
    by_id: dict[str, dict[str, dict[str, Any]]] = {}
    whole: list[Any] = []
    for index, item in enumerate(asked):
        one = item.get("id") if is_reference(item) else None
        match = _ITEM.fullmatch(one) if isinstance(one, str) else None
        turn_id = "" if match is None else f"resp_{match[1]}"
        if turn_id not in turns:
            whole.append(item)
            continue
        if turn_id not in by_id:
            by_id[turn_id] = {str(kept.get("id")): kept for kept in _items_of(turns[turn_id])}
        kept = by_id[turn_id].get(str(one))
        if kept is None:
            raise lost(f"input[{index}].id", str(one))
        if _is_said(kept):
            whole.append(_nameless(kept))
    return whole
