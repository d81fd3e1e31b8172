"""What a client might send to make the gateway work: up to 64 kB for each of the wire formats it speaks."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from tests.fuzz.patterns import attacks, found
from tests.fuzz.seeds import WORDS

MOST_BYTES: Final = 64 * 1024
#: The key of whoever sends it.
KEY: Final = b"a-key-for-the-search-of-slow-inputs"
#: So many characters of a text are drawn, and then come again.
_MOST_RANDOM: Final = 4 * 1024
#: So many turns are different, and then come again.
_MOST_DIFFERENT: Final = 8

_UNITS: Final = (
    " ", '\n', '\t', '\r\n', "a", "A", "0", "9", ".", "...", "? ", "! ", "a ", "1+", "(", ")", "((", "[", "]", "[[",
    "{", "}", '"', "'", '\\', '\\\\', "`", "```", "é", "日本", '\u0301', '\u200d', "😀", '\U0001f469\u200d', "İ",
    '\u2028', '\x00', '\x7f', '\x85', "[flag:", "[Flag: best]", "[flag:x,", "] ", "[ flag", "[UNK]", "[CLS]", "##",
    "it's ", "can't ", "please ", "tell me ", "what is ", "how to ", "without any ", "ignore all ", "my a ", "kill ",
    "answer is ", "#### ", '\\boxed{', "divided by ", "squared ", "^2", "% of ", "1,000,", "https://a.b/c?d=e&",
    "data: ", '\u202e', "ﷺ", "ß", "ꙮ", "word ", "der die das ",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ", "-",
    "_a", "@b",
)  # fmt: skip


@cache
def _units() -> tuple[str, ...]:
    """The above, and what makes a slow regular expression of ours slow, were it slow."""
    every = {one.begin + one.again for source in found() for one in attacks(source.pattern)}
    every |= {one.again for source in found() for one in attacks(source.pattern)}
    return (*_UNITS, *(word.decode("latin-1") for word in WORDS), *sorted(every))


def text(rnd: random.Random, chars: int) -> str:
    """A text of about so many characters: a unit again and again, several mixed, or all kinds of words."""
    kind = rnd.randrange(6)
    units = _units()
    if kind < 3:
        unit = rnd.choice(units)
        return (
            (rnd.choice(units) if kind else "") + unit * (chars // len(unit)) + (rnd.choice(units) if kind == 2 else "")
        )
    few = min(chars, _MOST_RANDOM)
    if kind == 3:
        chosen = rnd.sample(units, rnd.randint(2, 5))
        made = "".join(rnd.choices(chosen, k=max(1, few // max(1, sum(map(len, chosen)) // len(chosen)))))
    elif kind == 4:
        words = ("".join(rnd.choices("abcdefghij0é", k=rnd.randint(1, 40))) for _ in range(max(1, few // 20)))
        made = rnd.choice((" ", "\n", ", ", ". ")).join(words)
    else:
        points = (rnd.choice((rnd.randrange(0x20, 0x7F), rnd.randrange(0xA0, 0xD7FF))) for _ in range(max(1, few // 2)))
        made = "".join(map(chr, points))
    return (made * (chars // len(made) + 1))[:chars]


def document(rnd: random.Random, size: int) -> Any:
    """A JSON value that takes about so many bytes."""
    count = max(1, size // 8)
    said = [text(rnd, 30) for _ in range(min(count, 4))]
    made: list[Callable[[], Any]] = [
        lambda: text(rnd, size),
        lambda: [rnd.choice(({}, [], "", 0, None, 1.5))] * (size // 4),
        lambda: {f"{rnd.choice('abc')}{index}": index for index in range(count)},
        lambda: {f"{said[index % len(said)]}{index}": {} for index in range(count // 8)},
        lambda: [said[index % len(said)] for index in range(count // 4)],
        lambda: [rnd.randrange(10**6) for _ in range(count)],
        lambda: _nested(rnd, min(240, count)),
        lambda: [_nested(rnd, rnd.randint(1, 60))] * max(1, count // 30),
        lambda: [[["a"]]] * (count // 2),
        lambda: rnd.choice((10**18, -1, 1e308, 0.1, True, None, "auto", "", int("9" * 300))),
    ]
    return rnd.choice(made)()


_ROLES: Final = ("user", "assistant", "system", "tool", "developer")


def _nested(rnd: random.Random, depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made] if rnd.random() < 0.5 else {"a": made}
    return made


def _turns(rnd: random.Random, size: int, kinds: tuple[str, ...], roles: tuple[str, ...] = _ROLES) -> list[Any]:
    """Few long turns or many short ones, of strings or parts."""
    count = rnd.choice((1, 2, 4, rnd.randint(1, max(1, size // 40))))
    left = max(1, size // count - 40)
    kind = rnd.choice(kinds)
    parts: list[Callable[[], Any]] = [
        lambda: text(rnd, left),
        lambda: text(rnd, left),
        lambda: [{"type": kind, "text": text(rnd, left)}],
        lambda: [{"type": kind, "text": text(rnd, 4)}] * max(1, left // 30),
        lambda: [_part(rnd)] * max(1, left // 200),
        lambda: document(rnd, left),
    ]
    make = rnd.choice(parts if rnd.random() < 0.2 else parts[:5])
    chosen = rnd.choice((("user",), ("user", "assistant"), roles))
    said = [make() for _ in range(min(count, _MOST_DIFFERENT))]
    turns: list[Any] = [{"role": rnd.choice(chosen), "content": said[index % len(said)]} for index in range(count)]
    if rnd.random() < 0.1:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text(rnd, 40)}}
        turns += [{"role": "assistant", "tool_calls": [call] * rnd.randint(1, 50)}]
    return [*turns, {"role": "user", "content": text(rnd, 40)}] if rnd.random() < 0.5 else turns


def _part(rnd: random.Random) -> dict[str, Any]:
    """Something else than text, in the words of any API."""
    return {
        "type": rnd.choice(("image_url", "image", "input_image", "tool_result", "tool_use", "thinking")),
        "text": "a",
        "image_url": rnd.choice((text(rnd, 9), {"url": text(rnd, 9)})),
        "source": {"type": "base64", "media_type": "a", "data": text(rnd, 20)},
        "id": "t",
        "tool_use_id": "t",
        "name": "f",
        "input": {"a": document(rnd, 40)},
        "content": text(rnd, 9),
    }


def _items(rnd: random.Random, size: int) -> Any:
    items = _turns(rnd, size // 2, ("input_text", "output_text", "text"), _ROLES[:3])
    more = [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": text(rnd, 30)},
        {"type": "function_call_output", "call_id": "c", "output": text(rnd, 30)},
        {"type": "item_reference", "id": text(rnd, 10)},
        {"id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": text(rnd, 10)},
    ]
    chosen = rnd.sample(more, rnd.randint(1, 2))
    items += [
        dict(rnd.choice(chosen), **({"id": f"m{index}"} if rnd.random() < 0.5 else {})) for index in range(size // 120)
    ]
    return items if rnd.random() < 0.9 else text(rnd, size)


_BESIDE: Final = (
    "stream",
    "n",
    "stop",
    "tools",
    "functions",
    "response_format",
    "metadata",
    "user",
    "prompt_cache_key",
    "logprobs",
    "max_tokens",
    "temperature",
    "tool_choice",
    "system",
    "instructions",
    "text",
    "reasoning",
    "include",
    "previous_response_id",
    "conversation",
    "thinking",
    "stop_sequences",
    "output_config",
    "seed",
    "modalities",
    "max_output_tokens",
    "top_logprobs",
)


def _routing(rnd: random.Random, size: int) -> Any:
    fields: dict[str, Callable[[], Any]] = {
        "max_cost_usd": lambda: rnd.choice((1, 1e-9, "a", 10**18)),
        "max_energy_j": lambda: rnd.choice((100, -1)),
        "max_latency_ms": lambda: 10**6,
        "min_quality": lambda: 0.1,
        "weights": lambda: rnd.choice(({"cost": 0.5}, document(rnd, size))),
        "experts": lambda: rnd.choice((["one"], document(rnd, size))),
        "session": lambda: text(rnd, rnd.choice((5, 200, 200, size))),
        "cache": lambda: rnd.choice(("use", "no-cache", text(rnd, size))),
        "evidence": lambda: rnd.choice((False, {"max_calls": 2}, document(rnd, size))),
        "priority": lambda: rnd.choice(("high", text(rnd, size))),
        "deadline_ms": lambda: rnd.choice((5000, 10**18)),
        "local_only": lambda: rnd.choice((False, document(rnd, size))),
    }
    chosen = rnd.sample(sorted(fields), rnd.randint(0, 4))
    made = {name: fields[name]() for name in chosen}
    if rnd.random() < 0.2:
        made.update({f"x{index}": index for index in range(size // 10)})
    return made if rnd.random() < 0.9 else document(rnd, size)


def _with_beside(rnd: random.Random, fields: dict[str, Any], size: int) -> dict[str, Any]:
    made = {"model": rnd.choice(("auto", "auto", "auto", "one", text(rnd, 20))), **fields}
    for name in rnd.sample(_BESIDE, rnd.choice((0, 0, 1, 3))):
        made[name] = document(rnd, size // 4)
    if rnd.random() < 0.3:
        made["routing"] = _routing(rnd, size // 4)
    return made


def posted(path: str, body: bytes, more: bytes = b"") -> bytes:
    """A request."""
    head = b"POST /v1/%b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-api-key: %b\r\n"
    return head % (path.encode(), KEY) + more + b"content-length: %d\r\n\r\n" % len(body) + body


def _written(made: Any) -> bytes:
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _json(make: Callable[[int], Any], size: int) -> bytes:
    """A document of about this size, made again smaller where it is too large; cut off where it stays so."""
    said = b""
    for _ in range(5):
        said = _written(make(size))
        if len(said) <= MOST_BYTES:
            return said
        size = size * MOST_BYTES // len(said)
    return said[:MOST_BYTES]


def chat(rnd: random.Random, size: int) -> bytes:
    """Chat completions."""
    made = _json(lambda size: _with_beside(rnd, {"messages": _turns(rnd, size, ("text",))}, size), size)
    return posted("chat/completions", made)


def completions(rnd: random.Random, size: int) -> bytes:
    """Text completions."""

    def make(size: int) -> dict[str, Any]:
        prompts = (text(rnd, size), text(rnd, size), [text(rnd, 20)] * (size // 25), list(range(size // 6)))
        return _with_beside(rnd, {"prompt": rnd.choice((*prompts, document(rnd, size)))}, size)

    return posted("completions", _json(make, size))


def messages(rnd: random.Random, size: int) -> bytes:
    """Anthropic's Messages."""

    def make(size: int) -> dict[str, Any]:
        return _with_beside(rnd, {"max_tokens": 9, "messages": _turns(rnd, size, ("text",), _ROLES[:2])}, size)

    return posted("messages/count_tokens" if rnd.random() < 0.2 else "messages", _json(make, size))


def responses(rnd: random.Random, size: int) -> bytes:
    """OpenAI's Responses."""
    return posted("responses", _json(lambda size: _with_beside(rnd, {"input": _items(rnd, size)}, size), size))


def inputs(rnd: random.Random, size: int) -> bytes:
    """Embeddings, rerank and score."""
    path, names = rnd.choice(
        (
            ("embeddings", ("input", "messages")),
            ("rerank", ("query", "documents")),
            ("score", ("text_1", "text_2", "items")),
        )
    )

    def make(size: int) -> dict[str, Any]:
        return _with_beside(rnd, {name: document(rnd, size // 2) for name in names}, size)

    return posted(path, _json(make, size))


def routing(rnd: random.Random, size: int) -> bytes:
    """Routing objects, in a chat and in a question for a decision."""

    def make(size: int) -> dict[str, Any]:
        asked = {"model": "auto", "messages": [{"role": "user", "content": text(rnd, 40)}]}
        return {**asked, "routing": _routing(rnd, size)}

    return posted(rnd.choice(("chat/completions", "route")), _json(make, size))


def _judgement(rnd: random.Random, size: int) -> Any:
    if rnd.random() < 0.5:
        return document(rnd, size)
    said = rnd.choice(("dec_" + "0" * 32, text(rnd, size)))
    return {"decision_id": said, "quality": 1, "comment": text(rnd, size)}


def control(rnd: random.Random, size: int) -> bytes:
    """What is not for experts: judgements, decisions, models, documents."""
    kind = rnd.randrange(3)
    if kind == 0:
        return posted("feedback", _json(lambda size: _judgement(rnd, size), size))
    if kind == 1:
        name, parts = rnd.choice((("messages", ("text",)), ("input", ("input_text",)), ("prompt", ())))
        return posted("route", _json(lambda size: {name: _turns(rnd, size, parts) if parts else text(rnd, size)}, size))
    path = rnd.choice(("/v1/models/", "/v1/decisions/", "/", "/health?", "/v1/models?a=", "/docs/", "/openapi.json?"))
    said = text(rnd, size).encode("utf-8", "replace").translate(None, bytes(range(33)) + b"#\x7f")
    head = b"GET %b%b HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\n\r\n"
    return head % (path.encode(), said[: MOST_BYTES - 200], KEY)


_HEADERS: Final = (
    b"cache-control",
    b"x-pointsman-session",
    b"x-pointsman-max-energy-j",
    b"x-pointsman-weight-cost",
    b"x-pointsman-min-quality",
    b"cookie",
    b"x-pointsman-priority",
    b"x-pointsman-deadline-ms",
    b"authorization",
    b"x-api-key",
    b"accept",
    b"traceparent",
    b"x-request-id",
    b"openai-beta",
    b"anthropic-beta",
    b"content-type",
    b"accept-encoding",
    b"connection",
    b"expect",
    b"x-pointsman-anything",
)


def headers(rnd: random.Random, size: int) -> bytes:
    """Heads: many headers, long ones, long queries."""
    lines = []
    count = rnd.choice((1, 3, size // 20))
    for _ in range(count):
        name = rnd.choice(_HEADERS) if rnd.random() < 0.7 else b"x-" + bytes(rnd.choices(b"abcdefg", k=3))
        value = (
            text(rnd, max(1, size // count - 20)).encode("utf-8", "replace").translate(None, bytes(range(32)) + b"\x7f")
        )
        lines.append(name + b": " + value + b"\r\n")
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
    path = rnd.choice(("chat/completions", "messages", "route", "chat/completions?" + "a=b&" * (size // 32)))
    return posted(path, body, b"".join(lines)[: MOST_BYTES - 500].rpartition(b"\r\n")[0] + b"\r\n" if lines else b"")


def framing(rnd: random.Random, size: int) -> bytes:
    """Bodies in small chunks, and one request behind the other."""
    body = b'{"model":"%b","messages":[{"role":"user","content":"hi"}]}' % rnd.choice((b"auto", b"nobody"))
    kind = rnd.randrange(4)
    if kind == 0:
        step = rnd.choice((1, 2, 7))
        more = rnd.choice((b"", b";a=b", b";" + b"a" * 20))
        said = _json(lambda size: {"model": "auto", "messages": _turns(rnd, size, ("text",))}, size // 12)
        said = said[: size * step // (step + 5 + len(more))]
        chunks = b"".join(
            b"%x%b\r\n%b\r\n" % (len(said[at : at + step]), more, said[at : at + step])
            for at in range(0, len(said), step)
        )
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + chunks
            + b"0\r\n\r\n"
        )
    one = rnd.choice(
        (
            posted("chat/completions", body),
            posted("chat/completions", b""),
            b"POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            b"GET /health HTTP/1.1\r\n\r\n",
            b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"\r\n",
            b"POST /v1/route HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
        )
    )
    return one * max(1, size // len(one))


def packed(rnd: random.Random, size: int) -> bytes:
    """Compressed bodies: 64 kB as they come, and whatever they inflate to."""
    said, level = b"", rnd.choice((1, 6))
    size *= rnd.choice((1, 1, 4, 4, 20, 90))
    for _ in range(5):
        turns = [{"role": "user", "content": text(rnd, size)}] if rnd.random() < 0.7 else _turns(rnd, size, ("text",))
        said = gzip.compress(_written({"model": "auto", "messages": turns}), level, mtime=0)
        if len(said) <= MOST_BYTES:
            break
        size = max(1, size * MOST_BYTES // len(said) // 2)
    if rnd.random() < 0.1:
        said = bytes(byte if rnd.random() < 0.999 else rnd.randrange(256) for byte in said)
    elif rnd.random() < 0.3:
        said = zlib.compress(gzip.decompress(said), level)
    encoding = b"gzip" if said[:2] == b"\x1f\x8b" else b"deflate"
    return posted("chat/completions", said[:MOST_BYTES], b"content-encoding: %b\r\n" % encoding)


FORMATS: Final[dict[str, Callable[[random.Random, int], bytes]]] = {
    one.__name__: one
    for one in (chat, completions, messages, responses, inputs, routing, control, headers, framing, packed)
}


def bent(rnd: random.Random, data: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """An input that took long, made a little worse: pieces of its body again and again, or something else in it.

    The same for every size: where it is bent is a share of its length.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    said = bytearray(body)
    for _ in range(rnd.randint(1, 4)):
        at, length = int(rnd.random() * (len(said) + 1)), rnd.choice((1, 5, 40, 400, len(said) // 50))
        piece = bytes(said[at : at + length])
        room = max(1, most_bytes - len(said))
        kind = rnd.randrange(4)
        if kind == 0:
            del said[at + length : at + length + rnd.choice((0, 1000, len(said) // 2))]
            said[at:at] = piece * min(rnd.choice((2, 10, 100, most_bytes)), room // max(1, len(piece)))
        elif kind == 1:
            del said[at : at + length]
        elif kind == 2:
            unit = rnd.choice(_units()).encode("utf-8", "replace")
            said[at:at] = unit * min(rnd.choice((1, 10, 1000)), max(1, room // len(unit)))
        else:
            to = int(rnd.random() * (len(said) + 1))
            said[to:to] = piece
    said = said[: max(0, MOST_BYTES - len(head))]
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    if b"chunked" not in head and (said or body):
        lines.append(b"content-length: %d" % len(said))
    return b"\r\n".join(lines) + b"\r\n\r\n" + said
