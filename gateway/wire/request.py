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
from pointsman.gateway.wire.answer_bounds import AnswerBounds, read_bounds
from pointsman.gateway.wire.inputs import read_inputs
from pointsman.gateway.wire.large_bodies import LARGE_BYTES
from pointsman.gateway.wire.model_field import body_naming
from pointsman.gateway.wire.reading import PromptReader, read_fields, read_prompts, utf8_bytes
from pointsman.gateway.wire.repeated_fields import repeats_a_field
from pointsman.gateway.wire.request_fields import ROLES, TOOLS, by_user, text_field
from pointsman.gateway.wire.token_estimate import bytes_of, tokens_of
from pointsman.gateway.wire.translation import Rewrite, TranslatedRequest, read_translated, rewrite_content
from pointsman.routers.reading.asked import asked_of
from pointsman.routers.types import ONE_ANSWER, Work

AUTO: Final = "auto"

#: Earlier user turns that are read for what they say about the present one; older ones have next to no say left.
_EARLIER_TURNS: Final = 3

#: User turns that are looked at for those, from the latest on.
_SEARCHED_TURNS: Final = 24

#: Levels that orjson writes; it reads more.
_DEEPEST: Final = 254
#: A translation, and an answer that repeats a part of it, bury what a client sent by fewer levels than this.
_DEEPER: Final = 4


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
        max_completion_tokens: The caller's limit of one answer, the largest that is stated; None where none is known.
        required: Capabilities without which no expert can answer.
        earlier: The user turns before the one in `text`, oldest first, three at most.
        rewritten: The payload no longer equals the body, so that the body must be written anew.
        translated: The request as its client wrote it, where that is no chat but amounts to one.
        work: How much is asked for beyond one answer to one prompt.
        star: Where the client asked for an alias with a `*` in its name, what stood in its place.
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
    work: Work = ONE_ANSWER
    star: str = ""

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
        return _read_texts(endpoint, body, payload, model)
    stream = payload.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestRefused(Code.INVALID_VALUE, "stream: must be true or false.", param="stream")
    asked, original = endpoint, payload
    bounds = read_bounds(endpoint, payload)
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
    reading = PromptReader()
    earlier: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    if endpoint is Endpoint.CHAT:
        text, earlier, prompt_bytes, messages, strings = _read_messages(payload, reading)
        if translated is not None:
            # What a chat cannot say costs the expert that speaks the client's own words no less.
            prompt_bytes, strings, reading = 0, None, read_prompts(asked, original)
    else:
        text, sizes = _read_prompt(payload)
        prompt_bytes, messages, strings = sum(sizes), 1, None
    beside = read_fields(asked, original, reading)
    repeats = repeats_a_field(body, original, None if strings is None or beside is None else strings + beside)
    if translated is not None:
        translated.rewritten |= repeats
    for name in TOOLS:
        if name in original:
            # Chat templates write them into the prompt.
            prompt_bytes += _size_of(original[name])
    required |= reading.needs
    _see_needs(payload, required)
    return Inbound(
        endpoint=endpoint,
        body=body,
        payload=payload,
        model=model,
        stream=bool(stream),
        text=text,
        prompt_tokens=tokens_of(prompt_bytes + reading.size_bytes, messages),
        max_completion_tokens=bounds.limit,
        required=frozenset(required),
        earlier=earlier,
        rewritten=repeats or translated is not None,
        translated=translated,
        work=_work(bounds, sizes, reading),
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
            if by_user(message["role"]):
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


def _read_texts(endpoint: Endpoint, body: bytes, payload: dict[str, Any], model: str) -> Inbound:
    """A request to experts that write nothing."""
    read = read_inputs(endpoint, payload)
    read_fields(endpoint, payload, read.reading)
    work = ONE_ANSWER
    if read.repeated_bytes or read.longest_bytes or read.reading.unseen_tokens:
        work = Work(
            longest_prompt_tokens=tokens_of(read.longest_bytes, 1) if read.longest_bytes else None,
            unseen_tokens=tokens_of(read.repeated_bytes, 0) + read.reading.unseen_tokens,
        )
    return Inbound(
        endpoint=endpoint,
        body=body,
        payload=payload,
        model=model,
        stream=False,
        text=read.text,
        prompt_tokens=tokens_of(read.reading.size_bytes, read.count),
        max_completion_tokens=0,
        required=frozenset({endpoint.capability}),
        rewritten=repeats_a_field(body, payload),
        work=work,
    )


def _see_needs(payload: Mapping[str, Any], required: set[Capability]) -> None:
    """Add what a text request needs of an expert beyond its text."""
    if payload.get("tools") or payload.get("functions"):
        required.add(Capability.TOOLS)
    modalities = payload.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        required.add(Capability.AUDIO)
    if payload.get("logprobs") not in (None, False):
        required.add(Capability.LOGPROBS)
    response_format = payload.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") in ("json_schema", "json_object"):
        required.add(Capability.JSON_SCHEMA)


def _work(bounds: AnswerBounds, sizes: tuple[int, ...], reading: PromptReader) -> Work:
    """What is asked for beyond one answer to one prompt; `sizes` are those of prompts in bytes, where there are any."""
    several = len(sizes) > 1
    if not several and bounds.answers == 1 and bounds.unread is None and not reading.unseen_tokens:
        return ONE_ANSWER
    return Work(
        answers=bounds.answers * max(1, len(sizes)),
        longest_prompt_tokens=tokens_of(max(sizes), 1) if several else None,
        shortest_prompt_tokens=tokens_of(min(sizes), 1) if several else None,
        unseen_tokens=reading.unseen_tokens,
        unread_limit=bounds.unread,
    )


def _read_messages(
    payload: Mapping[str, Any], reading: PromptReader
) -> tuple[str, tuple[str, ...], int, int, int | None]:
    """The latest user turn's text, those of the turns before, the bytes of plain messages, the number of messages.

    What is not plain is left to `reading`. The last is the number of strings in the messages where all are plain.
    """
    messages = payload.get("messages")
    if messages is None:
        raise RequestRefused(Code.MISSING_FIELD, "messages: missing.", param="messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefused(Code.INVALID_VALUE, "messages: must be a non-empty list.", param="messages")
    total = 0
    strings: int | None = 0
    said: list[str] = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            where = f"messages[{index}]"
            raise RequestRefused(Code.INVALID_VALUE, f"{where}: must be an object.", param=where)
        role = message.get("role")
        if not isinstance(role, str):
            where = f"messages[{index}].role"
            raise RequestRefused(Code.INVALID_VALUE, f"{where}: must be a string.", param=where)
        content = message.get("content")
        if isinstance(content, str):
            text, plain = content, True
        else:
            text, plain = _content_text(content, index)
        if plain and len(message) == 2 and role in ROLES:
            total += utf8_bytes(text)
            if strings is not None:
                strings += 3 + 4 * len(content) if isinstance(content, list) else 4
        else:
            strings = None
            reading.message(message, f"messages[{index}]")
        if by_user(role):
            said.append(text)
    return said[-1] if said else "", _asking(said[:-1]), total, len(messages), strings


def _asking(turns: list[str]) -> tuple[str, ...]:
    """The latest of the turns in which the user asks something: agents send many in which a program alone speaks."""
    if len(turns) <= _EARLIER_TURNS:
        return tuple(turns)
    found: list[str] = []
    for turn in turns[: -1 - _SEARCHED_TURNS : -1]:
        if asked_of(turn):
            found.append(turn)
            if len(found) == _EARLIER_TURNS:
                break
    return tuple(reversed(found))


def _content_text(content: object, index: int) -> tuple[str, bool]:
    """The text of a message that is no string, and whether text is all there is of it."""
    if content is None:
        return "", False
    where = f"messages[{index}].content"
    if not isinstance(content, list):
        raise RequestRefused(Code.INVALID_VALUE, f"{where}: must be a string or a list of parts.", param=where)
    plain = True
    texts: list[str] = []
    for at, part in enumerate(content):
        if not isinstance(part, dict):
            raise RequestRefused(Code.INVALID_VALUE, f"{where}[{at}]: must be an object.", param=f"{where}[{at}]")
        kind = part.get("type")
        field = text_field(part)
        if field is not None:
            texts.append(part[field])
        plain = plain and kind == "text" and field is not None and len(part) == 2
    return "\n".join(texts), plain


def _read_prompt(payload: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """The text of all prompts, and the size of each in bytes. Token ids have no text; their size counts as such."""
    prompt = payload.get("prompt")
    if prompt is None:
        raise RequestRefused(Code.MISSING_FIELD, "prompt: missing.", param="prompt")
    if isinstance(prompt, str):
        return prompt, (utf8_bytes(prompt),)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            return "\n".join(prompt), tuple(map(utf8_bytes, prompt))
        if _token_ids(prompt):
            return "", (bytes_of(len(prompt)),)
        if all(isinstance(item, list) and _token_ids(item) for item in prompt):
            return "", tuple(bytes_of(len(item)) for item in prompt)
    raise RequestRefused(
        Code.INVALID_VALUE, "prompt: must be a string, a list of strings, or token ids.", param="prompt"
    )


def _token_ids(value: list[Any]) -> bool:
    return all(type(item) is int for item in value)


def _size_of(value: object) -> int:
    """Bytes of what is written into a prompt as JSON; 0 for nothing."""
    return len(orjson.dumps(value)) if value else 0


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", str: "a string", list: "a list"}.get(type(value), "a number")
