"""A chat in the fields and roles that one expert knows: servers differ in the name of a limit, and in who may instruct.

A chat that says nothing else than its expert knows stays as it is, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import ExpertSpec, InstructingRole, LimitField
from pointsman.gateway.wire.request import Inbound, expert_body
from pointsman.gateway.wire.request_fields import INSTRUCTING

_OTHER: Final[Mapping[LimitField, str]] = {
    LimitField.MAX_TOKENS: LimitField.MAX_COMPLETION_TOKENS.value,
    LimitField.MAX_COMPLETION_TOKENS: LimitField.MAX_TOKENS.value,
}
#: What models that reason know, and no others.
_REASONINGS: Final = frozenset({"reasoning_effort", "verbosity"})
_SYSTEM, _DEVELOPER = INSTRUCTING


def body_for(spec: ExpertSpec, inbound: Inbound, model: str) -> tuple[bytes, dict[str, Any]]:
    """The body for an expert that speaks the endpoint, and the same parsed, but for `model`.

    Args:
        spec: The expert.
        inbound: The request.
        model: The name to go in.
    """
    body, payload = expert_body(inbound, model), inbound.payload
    if inbound.endpoint is not Endpoint.CHAT or spec.null:
        return body, payload
    changed = _instructions(spec.instructing_role, payload, translated=inbound.translated is not None)
    if inbound.translated is not None and not spec.reasoning_effort and not _REASONINGS.isdisjoint(payload):
        changed = {name: value for name, value in (changed or payload).items() if name not in _REASONINGS}
    other = _OTHER.get(spec.limit_field)
    if other is not None and payload.get(other) is not None:
        renamed = _limited(changed or payload, other, spec.limit_field.value)
        spelt = b'"%b"' % other.encode()
        if changed is None and spec.limit_field.value not in payload and body.count(spelt) == 1 and b"\\u" not in body:
            # A whole JSON string that stands there once can only be the key.
            return body.replace(spelt, b'"%b"' % spec.limit_field.value.encode()), renamed
        changed = renamed
    if changed is None:
        return body, payload
    return orjson.dumps({**changed, "model": model}), changed


def _limited(payload: dict[str, Any], other: str, known: str) -> dict[str, Any]:
    """With the limit under its known name alone. Where both are stated, the newer name holds, as it does at OpenAI."""
    newer, older = payload.get("max_completion_tokens"), payload.get("max_tokens")
    rest = {name: value for name, value in payload.items() if name not in (other, known)}
    return {**rest, known: older if newer is None else newer}


def _instructions(role: InstructingRole, payload: dict[str, Any], *, translated: bool) -> dict[str, Any] | None:
    """With the instructions as they are known; None where they are so already."""
    if role is InstructingRole.ANY:
        return None
    turns = payload["messages"]
    if role is InstructingRole.FIRST or translated:
        # Texts of other APIs come as several turns, and in between; templates of many models take the first alone.
        told = [index for index, turn in enumerate(turns) if turn["role"] in INSTRUCTING]
        if told and (told != [0] or turns[0]["role"] == _DEVELOPER):
            rest = [turn for turn in turns if turn["role"] not in INSTRUCTING]
            said = _joined([turns[index].get("content") for index in told])
            return {**payload, "messages": [{**turns[told[0]], "role": _SYSTEM, "content": said}, *rest]}
        return None
    if not any(turn["role"] == _DEVELOPER for turn in turns):
        return None
    named = [{**turn, "role": _SYSTEM} if turn["role"] == _DEVELOPER else turn for turn in turns]
    return {**payload, "messages": named}


def _joined(contents: list[Any]) -> Any:
    """Strings as one string; with parts among them, all parts."""
    if len(contents) == 1:
        return contents[0]
    if all(content is None or isinstance(content, str) for content in contents):
        return "\n\n".join(content for content in contents if content)
    parts: list[Any] = []
    for content in contents:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return parts
