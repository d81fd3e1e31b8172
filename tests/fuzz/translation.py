"""Random chat answers, whole and streamed, through both translations, read by the clients' own SDKs.

`python -m tests.fuzz.translation --inputs N --seed S`. Nothing that an answer says is lost, calls keep their ids, names
and arguments, accounts are whole numbers, events come in their order however the bytes are split; and what is bent
breaks neither us nor a client. What was translated is put together from its events again, and the reverse.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.document_of_events import document_of
from pointsman.gateway.wire.events_of_document import events_of
from pointsman.gateway.wire.reply import EventStream
from pointsman.gateway.wire.translation import AnswerTranslation, TranslatedRequest
from tests.fuzz import sdk_readers
from tests.fuzz.chat_answers import Meant, bent, events, framed, meant, pieces, whole

_STOPS: Final = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
_STATUSES: Final = {"length": "incomplete", "content_filter": "incomplete"}
_ASKED: Final = {"tools": None, "thinking": {"type": "enabled"}, "metadata": {"a": "b"}}
_PROMPT_TOKENS: Final = 3


def translation(endpoint: Endpoint) -> AnswerTranslation:
    """A translation for a client of one of the two APIs, who wants to see thoughts."""
    return TranslatedRequest(endpoint, b"", dict(_ASKED)).translation("1", "m", _PROMPT_TOKENS)


def streamed(endpoint: Endpoint, data: bytes, chance: random.Random) -> bytes:
    """An expert's stream in the client's events, however it is split."""
    stream, told = EventStream("m"), translation(endpoint)
    out = [told.feed(stream.feed(piece)) for piece in pieces(data, chance)]
    return b"".join([*out, told.feed(stream.finish()), told.end()])


def one(seed: int) -> None:
    """One input.

    Raises:
        AssertionError: Something is lost, or out of order.
    """
    chance = random.Random(seed)
    answer = meant(chance)
    form = chance.randrange(5)
    if form == 0:
        body = whole(answer, chance)
        _check_message(answer, sdk_readers.read_message(_written(Endpoint.MESSAGES, body)))
        _check_response(answer, sdk_readers.read_response(_written(Endpoint.RESPONSES, body)))
        again = events_of(Endpoint.CHAT, body, with_usage=True)
        assert again is not None
        _check_chat(answer, document_of(Endpoint.CHAT, again))
    elif form == 1:
        told = streamed(Endpoint.MESSAGES, framed(events(answer, chance), chance), chance)
        _check_message(answer, sdk_readers.read_message_events(told))
        _check_message(answer, sdk_readers.read_message(document_of(Endpoint.MESSAGES, told)))
    elif form == 2:
        data = framed(events(answer, chance), chance)
        told = streamed(Endpoint.RESPONSES, data, chance)
        _check_response(answer, sdk_readers.read_response_events(told))
        _check_response(answer, sdk_readers.read_response(document_of(Endpoint.RESPONSES, told)))
        _check_chat(answer, document_of(Endpoint.CHAT, data))
    elif form == 3:
        body = whole(answer, chance)
        if chance.random() < 0.5:
            told = events_of(Endpoint.MESSAGES, _written(Endpoint.MESSAGES, body)) or b""
            _check_message(answer, sdk_readers.read_message_events(told))
        else:
            told = events_of(Endpoint.RESPONSES, _written(Endpoint.RESPONSES, body)) or b""
            _check_response(answer, sdk_readers.read_response_events(told))
    else:
        _bent(answer, chance)


def _bent(answer: Meant, chance: random.Random) -> None:
    """What no server means: nothing breaks, and what goes out can be read."""
    body = bent(whole(answer, chance), chance)
    data = bent(framed(events(answer, chance), chance), chance)
    endpoint, read = chance.choice(_READERS)
    said = translation(endpoint).whole(body)
    if said is not None:
        read[0](said)
    read[1](streamed(endpoint, data, chance))
    events_of(Endpoint.CHAT, body)
    document_of(Endpoint.CHAT, data)


_READERS: Final[tuple[tuple[Endpoint, tuple[Callable[[bytes], Any], Callable[[bytes], Any]]], ...]] = (
    (Endpoint.MESSAGES, (sdk_readers.read_message, sdk_readers.read_message_events)),
    (Endpoint.RESPONSES, (sdk_readers.read_response, sdk_readers.read_response_events)),
)


def _written(endpoint: Endpoint, body: bytes) -> bytes:
    said = translation(endpoint).whole(body)
    assert said is not None
    return said


def _check_message(answer: Meant, message: Any) -> None:
    assert message is not None
    blocks = message.content
    assert "".join(one.thinking for one in blocks if one.type == "thinking") == answer.said("thought")
    assert _text("".join(one.text for one in blocks if one.type == "text")) == _text(answer.said("text", "refusal"))
    _check_calls(answer, [(one.id, one.name, one.input) for one in blocks if one.type == "tool_use"])
    expected = _STOPS[answer.reason]
    if answer.calls and answer.reason != "length":
        expected = "tool_use"
    assert message.stop_reason == expected
    prompt, completion, cached = answer.counts
    usage = message.usage
    assert usage.input_tokens == (_PROMPT_TOKENS if prompt is None else prompt) - (cached or 0)
    assert completion is None or usage.output_tokens == completion
    assert type(usage.output_tokens) is int
    assert usage.cache_read_input_tokens == cached


def _check_response(answer: Meant, response: Any) -> None:
    assert response is not None
    items = response.output
    thoughts = [part.text for one in items if one.type == "reasoning" for part in one.summary]
    assert "".join(thoughts) == answer.said("thought")
    parts = [part for one in items if one.type == "message" for part in one.content]
    for kind, name in (("text", "output_text"), ("refusal", "refusal")):
        said = "".join(getattr(part, kind) for part in parts if part.type == name)
        assert _text(said) == _text(answer.said(kind))
    calls = [(one.call_id, one.name, orjson.loads(one.arguments)) for one in items if one.type == "function_call"]
    _check_calls(answer, calls)
    expected = "completed" if answer.calls and answer.reason != "length" else _STATUSES.get(answer.reason, "completed")
    assert response.status == expected
    prompt, completion, cached = answer.counts
    usage = response.usage
    assert usage.input_tokens == (_PROMPT_TOKENS if prompt is None else prompt)
    assert completion is None or usage.output_tokens == completion
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens == (cached or 0)


def _check_chat(answer: Meant, body: bytes) -> None:
    document = orjson.loads(body)
    message = document["choices"][0]["message"]
    content = message["content"]
    if not isinstance(content, list):
        assert _text(content or "") == _text(answer.said("text"))
    calls = message.get("tool_calls") or ()
    found = [(one.get("id") or "", one["function"]["name"], one["function"]["arguments"]) for one in calls]
    _check_calls(answer, [(call_id, name, _object(said)) for call_id, name, said in found])
    assert document["choices"][0]["finish_reason"]


def _object(said: Any) -> Any:
    return (orjson.loads(said or "{}") or {}) if isinstance(said, str | None) else said


def _check_calls(answer: Meant, calls: list[tuple[str, str, Any]]) -> None:
    """The calls are those that are meant, each with an id of its own."""
    assert sorted(map(_of_call, calls)) == sorted(_of_call(call) for call in answer.calls)
    ids = [call_id for call_id, _, _ in calls if call_id]
    assert len(set(ids)) == len(ids)
    by_id = {call_id: (name, arguments) for call_id, name, arguments in answer.calls}
    for call_id, name, arguments in calls:
        assert by_id.get(call_id, (name, arguments)) == (name, arguments)


def _of_call(call: tuple[str, str, Any]) -> str:
    return call[1] + json.dumps(call[2], sort_keys=True)


def _text(text: str) -> str:
    """Text without the line breaks that some servers put between calls."""
    return text.rstrip("\n")


def run(first: int, count: int) -> int | None:
    """Run inputs; the number of the first that fails."""
    began_s = time.monotonic()
    for number in range(first, first + count):
        try:
            one(number)
        except Exception as error:  # whatever comes out of it is what is looked for
            import traceback

            traceback.print_exc()
            print(f"input {number}: {type(error).__name__} {error}", flush=True)  # noqa: T201 (a command)
            return number
        done = number - first + 1
        if done % 10_000 == 0:
            print(f"{done:,} inputs, {done / (time.monotonic() - began_s):,.0f} a second", flush=True)  # noqa: T201
    return None


def main() -> int:
    """As a command."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz.translation")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one (%(default)s)")
    asked = parser.parse_args()
    failed = run(asked.seed, asked.inputs)
    print("nothing found" if failed is None else f"run it again: --inputs 1 --seed {failed}")  # noqa: T201
    return failed is not None


if __name__ == "__main__":
    sys.exit(main())
