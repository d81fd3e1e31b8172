"""Random answers as chat servers give them: what is meant, and the many ways in which it is said."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

_TEXTS = (
    "Hello",
    "é",
    "😀",
    "a 'quote' \"",
    "line\n",
    "{",
    "\\",
    " ",
    "数",
    "[DONE]",
    "data: x",
    '"model":"y"',
    "\u2028",
)
_KEYS = ("a", "model", "city", "é", "deep", "😀")
_NAMES = ("get_weather", "clock", "Read", "run")
_NUMBERS = ("one", "zero", "none", "text")
_FINISHES = {
    "stop": ("stop", "eos", "eos_token", "end_turn", "whatever"),
    "length": ("length", "max_tokens"),
    "content_filter": ("content_filter",),
}
_SCALARS: tuple[Any, ...] = (1, -2.5, True, None, 10**12)


@dataclass(slots=True)
class Meant:
    """What an answer says.

    Attributes:
        parts: In order: `("thought" | "text" | "refusal", text)` or `("call", id, name, arguments)`.
        reason: `stop`, `length` or `content_filter`; the word for it is the server's.
        usage: As the server gives it.
        counts: Prompt, completion and cached tokens where it says them.
    """

    parts: list[tuple[Any, ...]] = field(default_factory=list)
    reason: str = "stop"
    usage: Any = None
    counts: tuple[int | None, int | None, int | None] = (None, None, None)

    @property
    def calls(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Id, name and arguments of each call."""
        return [part[1:] for part in self.parts if part[0] == "call"]

    def said(self, *kinds: str) -> str:
        """All that is said of some kinds."""
        return "".join(part[1] for part in self.parts if part[0] in kinds)


def meant(chance: random.Random) -> Meant:
    """A random answer."""
    answer = Meant(reason=chance.choice(("stop", "stop", "stop", "length", "content_filter")))
    if chance.random() < 0.3:
        answer.parts.append(("thought", _text(chance)))
    if chance.random() < 0.7:
        answer.parts.append(("text", _text(chance)))
    elif chance.random() < 0.2:
        answer.parts.append(("refusal", _text(chance)))
    for number in range(chance.choice((0, 0, 1, 1, 2, 3))):
        answer.parts.append(("call", f"call_{number}x", chance.choice(_NAMES), _object(chance)))
    answer.usage, answer.counts = _usage(chance)
    return answer


def _text(chance: random.Random) -> str:
    return "w" + "".join(chance.choice(_TEXTS) for _ in range(chance.randint(0, 6)))


def _object(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    return {chance.choice(_KEYS): _value(chance, depth + 1) for _ in range(chance.randint(0, 3))}


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(4)
    if kind == 0 and depth < 4:
        return _object(chance, depth)
    if kind == 1 and depth < 4:
        return [_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return _text(chance) if kind == 2 else chance.choice(_SCALARS)


def _usage(chance: random.Random) -> tuple[Any, tuple[int | None, int | None, int | None]]:
    prompt, completion, cached = chance.randint(5, 99), chance.randint(1, 99), chance.randint(0, 5)
    full: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    details = {"prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": None}
    return chance.choice(
        (
            (None, (None, None, None)),
            ({}, (None, None, None)),
            (full, (prompt, completion, None)),
            (full | details, (prompt, completion, cached)),
            ({"prompt_tokens": float(prompt), "completion_tokens": str(completion)}, (prompt, completion, None)),
            ({"prompt_tokens": prompt, "completion_tokens": None}, (prompt, None, None)),
            ({"completion_tokens": completion, "total_tokens": "x"}, (None, completion, None)),
            (full | {"prompt_tokens_details": {"cached_tokens": None}}, (prompt, completion, None)),
            ({"prompt_tokens": -1, "completion_tokens": float("nan")}, (None, None, None)),
        )
    )


def whole(answer: Meant, chance: random.Random) -> bytes:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.said("text")}
    thought, refusal = answer.said("thought"), answer.said("refusal")
    if thought:
        message[chance.choice(("reasoning_content", "reasoning", "thinking"))] = thought
    if refusal:
        message["refusal"] = refusal
    style = chance.randrange(4)
    if style == 0:
        message["content"] = _parts(answer, message)
    elif not message["content"]:
        message["content"] = chance.choice((None, ""))
    calls = [_whole_call(one, number, chance) for number, one in enumerate(answer.calls)]
    if calls or chance.random() < 0.3:
        message["tool_calls"] = calls or chance.choice(([], None))
    choice = {"index": chance.choice((0, None)), "message": message, "finish_reason": _word(answer, chance)}
    document = {"id": "1", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice]}
    fields = list({**document, "usage": answer.usage}.items())
    if chance.random() < 0.3:
        fields.sort()
    return _json(dict(fields), chance)


def _parts(answer: Meant, message: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for kind, *said in answer.parts:
        if kind == "text":
            parts.append({"type": "text", "text": said[0]})
        elif kind == "refusal":
            message.pop("refusal")
            parts.append({"type": "refusal", "refusal": said[0]})
        elif kind == "thought":
            for name in ("reasoning_content", "reasoning", "thinking"):
                message.pop(name, None)
            parts.append({"type": "thinking", "thinking": [{"type": "text", "text": said[0]}]})
    return parts


def _whole_call(call: tuple[str, str, dict[str, Any]], number: int, chance: random.Random) -> dict[str, Any]:
    call_id, name, arguments = call
    said: Any = json.dumps(arguments, ensure_ascii=chance.random() < 0.5)
    if not arguments:
        said = chance.choice(("", None, "{}", "null", {}))
    elif chance.random() < 0.2:
        said = arguments
    found: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": said}}
    if chance.random() < 0.8:
        found["id"] = call_id
    elif chance.random() < 0.5:
        found["id"] = chance.choice(("", None))
    if chance.random() < 0.5:
        found["index"] = number
    return found


def _word(answer: Meant, chance: random.Random) -> str:
    if answer.calls and answer.reason == "stop" and chance.random() < 0.5:
        return chance.choice(("tool_calls", "function_call"))
    return chance.choice(_FINISHES[answer.reason])


def events(answer: Meant, chance: random.Random) -> list[bytes]:
    """The answer as the events of a stream, without what frames them."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": chance.choice(("", None))}]
    thoughts = chance.choice(("reasoning_content", "reasoning"))
    for kind, *said in answer.parts:
        if kind != "call":
            name = {"thought": thoughts, "text": "content", "refusal": "refusal"}[kind]
            deltas += [{name: piece} for piece in _cut(said[0], chance)]
    deltas += _call_deltas(answer.calls, chance)
    chunks = [_chunk(delta) for delta in deltas]
    ending = _word(answer, chance)
    last = chunks[-1]
    if chance.random() < 0.3:
        last["choices"][0]["finish_reason"] = ending
    else:
        last = _chunk({}, ending)
        chunks.append(last)
    if chance.random() < 0.5:
        last["usage"] = answer.usage
    else:
        chunks.append({**_chunk({}), "choices": [], "usage": answer.usage})
    told = [_json(one, chance) for one in chunks]
    return [*told, b"[DONE]"] if chance.random() < 0.8 else told


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice]}


def _call_deltas(calls: list[tuple[str, str, dict[str, Any]]], chance: random.Random) -> list[dict[str, Any]]:
    style = chance.choice(("openai", "openai", "interleaved", "zero", "none", "repeated", "whole", "late", "anew"))
    if len(calls) == 1 and chance.random() < 0.2:
        style = "legacy"
    of_each = [_pieces(one, number, style, chance) for number, one in enumerate(calls)]
    if style != "interleaved":
        return [delta for pieces in of_each for delta in pieces]
    mixed: list[dict[str, Any]] = [pieces.pop(0) for pieces in of_each]
    while any(of_each):
        mixed.append(chance.choice([pieces for pieces in of_each if pieces]).pop(0))
        if chance.random() < 0.1:
            mixed.append({"content": "\n"})
    return mixed


def _pieces(
    call: tuple[str, str, dict[str, Any]], number: int, style: str, chance: random.Random
) -> list[dict[str, Any]]:
    call_id, name, arguments = call
    said = json.dumps(arguments, ensure_ascii=chance.random() < 0.5)
    texts = _cut(said, chance) if arguments or style == "late" or chance.random() < 0.5 else []
    if style == "legacy":
        rest = [{"function_call": {"arguments": text}} for text in texts]
        return [{"function_call": {"name": name, "arguments": ""}}, *rest]
    first: dict[str, Any] = {"type": "function", "id": call_id, "function": {"name": name, "arguments": ""}}
    index: dict[str, Any] = {"index": number}
    if style in ("zero", "anew"):
        index = {"index": 0}
    elif style == "none":
        index = chance.choice(({}, {"index": None}))
    if style == "whole":
        if chance.random() < 0.5 and arguments:
            # As those do that know no ids.
            index = {"index": 0}
            del first["id"]
        first["function"]["arguments"] = arguments if chance.random() < 0.3 else said
        return [{"tool_calls": [{**index, **first}]}]
    deltas = [{**index, **first}]
    for number_of_piece, text in enumerate(texts):
        piece: dict[str, Any] = {**index, "function": {"arguments": text}}
        if style == "repeated":
            piece |= {"id": call_id, "function": {"name": name, "arguments": text}}
        elif style == "late" and number_of_piece == 0:
            deltas[0]["function"] = {"name": None, "arguments": ""}
            piece["function"]["name"] = name
        elif style == "anew" and number_of_piece:
            # Some make an id anew for every piece; none that goes on begins with a brace.
            piece["id"] = f"{call_id}_{number_of_piece}" if not text.lstrip().startswith("{") else call_id
        elif style == "openai":
            piece |= chance.choice(({}, {"id": None}, {"id": ""}, {"type": "function"}))
            piece["function"] |= chance.choice(({}, {"name": None}, {"name": ""}))
        deltas.append(piece)
    return [{"tool_calls": [one]} for one in deltas]


def _cut(text: str, chance: random.Random) -> list[str]:
    """The text in pieces, sometimes in the middle of a letter of two UTF-16 units."""
    if chance.random() < 0.3:
        units = text.encode("utf-16-le")
        letters = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    else:
        letters = list(text)
    pieces: list[str] = []
    most = chance.choice((2, 8, 30))
    while letters:
        size = chance.randint(1, most)
        pieces.append("".join(letters[:size]))
        letters = letters[size:]
    return pieces


def _json(document: Any, chance: random.Random) -> bytes:
    """JSON with some letters escaped, halves of pairs always."""
    text = json.dumps(document, ensure_ascii=False, separators=chance.choice(((",", ":"), (", ", ": "))))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(document).encode()


def framed(said: list[bytes], chance: random.Random) -> bytes:
    """Events as bytes, in one of the ways that the specification allows."""
    end = chance.choice((b"\n", b"\n", b"\r\n", b"\r"))
    mark = chance.choice((b"data: ", b"data: ", b"data:"))
    told: list[bytes] = [b"\xef\xbb\xbf"] if chance.random() < 0.1 else []
    for one in said:
        if chance.random() < 0.1:
            told.append(chance.choice((b": ping", b":", b"retry: 5", b"id: 7", b"event: ping")) + end + end)
        before = chance.choice((b"", b"", b"id: 1" + end, b"event: message" + end))
        lines = one.split(b", ") if chance.random() < 0.1 and b'", ' in one and b", " in one else [one]
        if len(lines) > 1 and not _splits(one):
            lines = [one]
        told.append(before + end.join(mark + line + b", " * (n < len(lines) - 1) for n, line in enumerate(lines)))
        told.append(end + end)
    if chance.random() < 0.2:
        told.pop()
    return b"".join(told)


def _splits(document: bytes) -> bool:
    """Whether a break may stand behind every comma and blank: none is within a text."""
    return json.dumps(json.loads(document), separators=(",", ":")).find(", ") < 0


def pieces(data: bytes, chance: random.Random) -> list[bytes]:
    """Bytes as a connection brings them."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 1, 3, 20))))
    edges = [0, *cuts, len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if end > begin]


def bent(data: bytes, chance: random.Random) -> bytes:
    """Bytes with a few of them changed, or a value put where another was."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        with_what = chance.choice(
            (b"", b"null", b"{}", b"[", b'"', b"1", b"\xff", b"\\ud83d", b"\n\n", b"NaN", b"error")
        )
        data = data[:at] + with_what + data[at + chance.randint(0, 6) :]
    return data
