"""A client's body -> the part that the decision needs, and the body that an expert gets.

Only the fields that routing needs are read. All other fields, known or unknown, pass unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.wire.inputs import read_inputs
from pointsman.gateway.wire.model_field import body_naming
from pointsman.gateway.wire.reading import LARGE_BYTES
from pointsman.gateway.wire.translation import Rewrite, TranslatedRequest, read_translated, rewrite_content

AUTO: Final = "auto"

#: About how many UTF-8 bytes make a token of English or code. An estimate: exact counts come back in `usage`.
_BYTES_PER_TOKEN: Final = 3.6
_TOKENS_PER_MESSAGE: Final = 4

#: Earlier user turns that are read for what they say about the present one; older ones have next to no say left.
_EARLIER_TURNS: Final = 3

#: Levels that orjson writes; it reads more.
_DEEPEST: Final = 254
#: A translation, and an answer that repeats a part of it, bury what a client sent by fewer levels than this.
_DEEPER: Final = 4

_IMAGE_PARTS: Final = frozenset({"image_url", "input_image", "image"})


@dataclass(slots=True)
class Inbound:
    """One request after parsing; `text` and `payload` change only where in-prompt flags are taken out.

    Attributes:
        endpoint: Which endpoint family the payload is for; a foreign request is a chat here.
        body: The client's bytes.
        payload: The same, parsed.
        model: What the client asked for: `auto` or an expert's name.
        stream: Whether the answer is to be streamed.
        text: What the classifier reads: the latest user turn, or the prompt.
        prompt_tokens: Estimated input tokens of the whole request.
        max_completion_tokens: The caller's limit, None when not stated.
        required: Capabilities without which no expert can answer.
        earlier: The user turns before the one in `text`, oldest first, three at most.
        rewritten: The payload no longer equals the body, so that the body must be written anew.
        translated: The request as its client wrote it, where that is no chat but amounts to one.
    """

    endpoint: Endpoint
    body: bytes
    payload: dict[str, Any]
    model: str
    stream: bool
    text: str
    prompt_tokens: int
    max_completion_tokens: int | None
    required: frozenset[Capability]
    earlier: tuple[str, ...] = ()
    rewritten: bool = False
    translated: TranslatedRequest | None = None

    @property
    def asked(self) -> Endpoint:
        """What the client called."""
        return self.endpoint if self.translated is None else self.translated.endpoint


def parse_json(body: bytes) -> dict[str, Any]:
    """The body as an object.

    Raises:
        RequestRefused: It is not JSON, or not an object.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(Code.INVALID_JSON, f"The body is not valid JSON: {error}") from None
    if not isinstance(payload, dict):
        raise RequestRefused(Code.INVALID_JSON, f"The body must be a JSON object, not {_json_type(payload)}.")
    _see_depth(body, payload)
    return payload


def _see_depth(body: bytes, payload: object) -> None:
    """See that a document, made of a body, can be written again.

    Raises:
        RequestRefused: It is nested too deeply.
    """
    if body.count(b"[") + body.count(b"{") <= _DEEPEST - _DEEPER:
        return
    if len(body) >= LARGE_BYTES:
        # Writing all of it would let nobody else run; its texts are most of it.
        if _depth(payload) <= _DEEPEST:
            return
    else:
        with contextlib.suppress(orjson.JSONEncodeError):
            orjson.dumps(payload)
            return
    raise RequestRefused(Code.INVALID_JSON, f"The body is nested more than {_DEEPEST} levels deep.")


def _depth(document: object) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [part for parts in inside for part in parts if isinstance(part, dict | list)]
    return depth


def parse_inbound(endpoint: Endpoint, body: bytes) -> Inbound:
    """Read what routing needs of a request.

    Raises:
        RequestRefused: Not JSON, or a field that routing needs is missing or malformed; the error names it.
    """
    payload = parse_json(body)
    model = payload.get("model")
    if model is None:
        raise RequestRefused(Code.MISSING_FIELD, "model: missing; ask for 'auto' or for an expert.", param="model")
    if not isinstance(model, str) or not model:
        raise RequestRefused(Code.INVALID_VALUE, "model: must be a non-empty string.", param="model")
    if not endpoint.writes and endpoint is not Endpoint.COUNT_TOKENS:
        text, prompt_bytes, count = read_inputs(endpoint, payload)
        tokens = int(prompt_bytes / _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * count
        return Inbound(endpoint, body, payload, model, False, text, tokens, 0, frozenset({endpoint.capability}))
    stream = payload.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestRefused(Code.INVALID_VALUE, "stream: must be true or false.", param="stream")
    translated = None
    if endpoint is not Endpoint.CHAT and endpoint is not Endpoint.COMPLETIONS:
        translated, payload = read_translated(endpoint, body, payload)
        # As deep as an answer may repeat it, inside of an event.
        _see_depth(body, [[[payload, translated.payload]]])
        endpoint = Endpoint.CHAT
    required = {endpoint.capability}
    if translated is not None and translated.native_only is not None:
        required.add(translated.endpoint.capability)
    if stream:
        required.add(Capability.STREAMING)
    earlier: tuple[str, ...] = ()
    if endpoint is Endpoint.CHAT:
        text, earlier, prompt_bytes, messages = _read_messages(payload, required)
    else:
        text, prompt_bytes = _read_prompt(payload)
        messages = 1
    if payload.get("tools") or payload.get("functions"):
        required.add(Capability.TOOLS)
        # Chat templates write them into the prompt.
        prompt_bytes += _size_of(payload.get("tools")) + _size_of(payload.get("functions"))
    if payload.get("logprobs") not in (None, False):
        required.add(Capability.LOGPROBS)
    response_format = payload.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") in ("json_schema", "json_object"):
        required.add(Capability.JSON_SCHEMA)
    return Inbound(
        endpoint=endpoint,
        body=body,
        payload=payload,
        model=model,
        stream=bool(stream),
        text=text,
        prompt_tokens=int(prompt_bytes / _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * messages,
        max_completion_tokens=_max_tokens(payload),
        required=frozenset(required),
        earlier=earlier,
        rewritten=translated is not None,
        translated=translated,
    )


def strip_routing(inbound: Inbound) -> object:
    """Take our `routing` object out of the payload and return it (None when absent)."""
    if "routing" not in inbound.payload:
        return None
    inbound.rewritten = True
    if inbound.translated is not None:
        inbound.translated.strip("routing")
    return inbound.payload.pop("routing")


def rewrite_user_text(inbound: Inbound, rewrite: Rewrite) -> None:
    """Rewrite what the user wrote, turn by turn and the latest last; the classified text is rewritten with it."""
    texts: tuple[str, ...] = (*inbound.earlier, inbound.text)
    inbound.earlier, inbound.text = tuple(rewrite((text,))[0] for text in texts[:-1]), rewrite((texts[-1],))[0]
    if inbound.translated is not None:
        inbound.translated.rewrite_user_text(rewrite)
    if inbound.endpoint is Endpoint.COMPLETIONS:
        prompt = inbound.payload["prompt"]
        said = [prompt] if isinstance(prompt, str) else prompt
        if all(isinstance(item, str) for item in said):
            new = list(rewrite(said))
            if new != said:
                inbound.payload["prompt"] = new[0] if isinstance(prompt, str) else new
                inbound.rewritten = True
    else:
        for message in inbound.payload["messages"]:
            if message["role"] == "user":
                inbound.rewritten |= rewrite_content(message, rewrite)


def write_out(inbound: Inbound) -> None:
    """Write the bytes of a request that was rewritten now, so that only `model` is left to be put in."""
    if inbound.rewritten:
        inbound.body, inbound.rewritten = orjson.dumps(inbound.payload), False
    translated = inbound.translated
    if translated is not None and translated.rewritten:
        translated.body, translated.rewritten = orjson.dumps(translated.payload), False


def expert_body(inbound: Inbound, model: str) -> bytes:
    """The body for an expert: the client's bytes where they can stay, with `model` naming the expert's own model."""
    return body_naming(inbound.body, inbound.payload, model, rewritten=inbound.rewritten)


def _max_tokens(payload: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = payload.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RequestRefused(Code.INVALID_VALUE, f"{name}: must be a whole number of at least 1.", param=name)
        return int(value)
    return None


def _read_messages(payload: Mapping[str, Any], required: set[Capability]) -> tuple[str, tuple[str, ...], int, int]:
    """The latest user turn's text, those of the turns before, the bytes of all text, and the number of messages."""
    messages = payload.get("messages")
    if messages is None:
        raise RequestRefused(Code.MISSING_FIELD, "messages: missing.", param="messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefused(Code.INVALID_VALUE, "messages: must be a non-empty list.", param="messages")
    total = 0
    said: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RequestRefused(Code.INVALID_VALUE, f"{where}: must be an object.", param=where)
        role = message.get("role")
        if not isinstance(role, str):
            raise RequestRefused(Code.INVALID_VALUE, f"{where}.role: must be a string.", param=f"{where}.role")
        text = _content_text(message.get("content"), where, required)
        total += _size(text) + _size_of(message.get("tool_calls"))
        if role == "user":
            said.append(text)
    return said[-1] if said else "", tuple(said[-1 - _EARLIER_TURNS : -1]), total, len(messages)


def _content_text(content: object, where: str, required: set[Capability]) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestRefused(
            Code.INVALID_VALUE, f"{where}.content: must be a string or a list of parts.", param=f"{where}.content"
        )
    texts: list[str] = []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            at = f"{where}.content[{index}]"
            raise RequestRefused(Code.INVALID_VALUE, f"{at}: must be an object.", param=at)
        kind = part.get("type")
        text = part.get("text")
        if kind == "text" and isinstance(text, str):
            texts.append(text)
        elif isinstance(kind, str) and kind in _IMAGE_PARTS:
            required.add(Capability.VISION)
    return "\n".join(texts)


def _read_prompt(payload: Mapping[str, Any]) -> tuple[str, int]:
    """The prompt's text and its size in bytes. Token-id prompts have no text; their size counts as such."""
    prompt = payload.get("prompt")
    if prompt is None:
        raise RequestRefused(Code.MISSING_FIELD, "prompt: missing.", param="prompt")
    if isinstance(prompt, str):
        return prompt, _size(prompt)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            text = "\n".join(prompt)
            return text, _size(text)
        if all(isinstance(item, int) and not isinstance(item, bool) for item in prompt):
            return "", int(len(prompt) * _BYTES_PER_TOKEN)
        if all(isinstance(item, list) for item in prompt):
            return "", int(sum(map(len, prompt)) * _BYTES_PER_TOKEN)
    raise RequestRefused(
        Code.INVALID_VALUE, "prompt: must be a string, a list of strings, or token ids.", param="prompt"
    )


def _size(text: str) -> int:
    """UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode())


def _size_of(value: object) -> int:
    """Bytes of what is written into a prompt as JSON; 0 for nothing."""
    return len(orjson.dumps(value)) if value else 0


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", str: "a string", list: "a list"}.get(type(value), "a number")
