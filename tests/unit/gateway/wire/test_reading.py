"""All the text of a request is counted and can be looked at, wherever it stands; what is no text is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Capability
from pointsman.gateway.wire.everything_said import everything_said
from pointsman.gateway.wire.request import Inbound, parse_inbound
from pointsman.gateway.wire.request_fields import MOST_SILENT_BYTES, TEXT_PARTS, TOKENS_PER_MEDIUM
from tests.unit.gateway.wire.places_of_text import INPUTS, PHRASE, PLACES, chat, message, responses

#: At worst so many bytes make a token of the estimate.
BYTES_PER_TOKEN = 3.6


def read(endpoint: Endpoint, asked: dict[str, Any]) -> Inbound:
    return parse_inbound(endpoint, orjson.dumps(asked))


@pytest.mark.parametrize("place", [*PLACES, *INPUTS])
@pytest.mark.parametrize("unit", ["word ", "語", '\\"\n'])
def test_text_counts_wherever_it_stands(place: str, unit: str) -> None:
    endpoint, body = {**PLACES, **INPUTS}[place]
    text = unit * 3_000
    grown = read(endpoint, body(text)).prompt_tokens - read(endpoint, body("x")).prompt_tokens
    assert grown >= int((len(text.encode()) - 1) / BYTES_PER_TOKEN) - 1


@pytest.mark.parametrize("place", PLACES)
def test_text_can_be_looked_at_wherever_it_stands(place: str) -> None:
    endpoint, body = PLACES[place]
    said = everything_said(read(endpoint, body(PHRASE)))
    assert any(text.removeprefix("data:text/plain,") == PHRASE for text in said.texts)
    assert said.unread is None


def _places(document: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every object and list in a document."""
    if isinstance(document, dict | list):
        yield way
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from _places(value, (*way, key))


def _at(document: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        document = document[key]
    return document


@settings(deadline=None)
@given(st.data(), st.text(st.characters(exclude_categories=["Cs"]), min_size=600, max_size=900))
def test_random_text_anywhere_in_a_body_counts(data: st.DataObject, text: str) -> None:
    """A field that nobody knows, in any object of any body: its bytes count, and it can be looked at."""
    endpoint, body = PLACES[data.draw(st.sampled_from(sorted(PLACES)))]
    plain = body("some text")
    places = [way for way in _places(plain) if isinstance(_at(plain, way), dict)]
    way = data.draw(st.sampled_from(places))
    name = data.draw(st.sampled_from(["weather", "of_old", "X-Y"]))
    bent = deepcopy(plain)
    _at(bent, way)[name] = text
    grown = read(endpoint, bent).prompt_tokens - read(endpoint, plain).prompt_tokens
    assert grown >= int(len(text.encode()) / BYTES_PER_TOKEN) - 1
    assert text in everything_said(read(endpoint, bent)).texts


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200_000}}], "picture"),
        ([{"type": "image_url", "image_url": {"url": "https://a/" + "b" * 2_000}}], "picture"),
        ([{"type": "image_url", "image_url": {"url": ("A" * 76 + "\n") * 900}}], "picture"),
        ([{"type": "input_audio", "input_audio": {"data": "A" * 64_000, "format": "wav"}}], "sound"),
        ([{"type": "file", "file": {"file_data": "A" * 100_000}}], "file"),
    ],
)
def test_what_is_no_text_is_bounded_for_limits_but_takes_no_window(content: list[Any], kind: str) -> None:
    request = read(Endpoint.CHAT, chat(content))
    assert request.prompt_tokens < 20
    data_tokens = {"picture": 0, "sound": 1_000, "file": 100_000}[kind]
    assert request.work.unseen_tokens == TOKENS_PER_MEDIUM + data_tokens
    assert (Capability.VISION in request.required) is (kind == "picture")


@pytest.mark.parametrize(
    ("endpoint", "body", "where"),
    [
        (Endpoint.CHAT, chat([{"type": "input_texts", "text": PHRASE}]), "messages[0].content[0]"),
        (Endpoint.CHAT, chat([{"type": "Text", "text": PHRASE}]), "messages[0].content[0]"),
        (Endpoint.CHAT, chat([{"type": 5, "text": PHRASE}]), "messages[0].content[0]"),
        (Endpoint.CHAT, chat([{"type": "file", "file": {"file_data": "A"}}]), "messages[0].content[0]"),
        (Endpoint.CHAT, chat(prompt_embeds="AAAA"), "prompt_embeds"),
        (Endpoint.COMPLETIONS, {"model": "e", "prompt": [1, 2, 3]}, "prompt"),
        (Endpoint.COMPLETIONS, {"model": "e", "prompt": [[1, 2], [3]]}, "prompt"),
        (Endpoint.COMPLETIONS, {"model": "e", "prompt": "a", "prompt_token_ids": [1]}, "prompt_token_ids"),
        (
            Endpoint.MESSAGES,
            message({"type": "document", "source": {"type": "base64", "data": "A"}}),
            "messages[0].content[0]",
        ),
        (
            Endpoint.MESSAGES,
            message({"type": "tool_result", "tool_use_id": "c", "content": [{"type": "news"}]}),
            "messages[0].content[0].content[0]",
        ),
        (
            Endpoint.RESPONSES,
            responses({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
            "input[1].content[0]",
        ),
        (Endpoint.RESPONSES, responses({"type": "riddle", "answer": "a"}), "input[1]"),
    ],
)
def test_what_may_hold_words_nobody_can_read_is_named(endpoint: Endpoint, body: dict[str, Any], where: str) -> None:
    assert everything_said(read(endpoint, body)).unread == where


def test_an_ordinary_request_counts_as_before() -> None:
    plain = read(Endpoint.CHAT, chat("w" * 36))
    assert plain.prompt_tokens == 14
    settled = {
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": False},
        "temperature": 0.5,
        "stop": ["END", "STOP"],
        "user": "u" * 64,
        "metadata": {"run": "a" * 200},
        "logit_bias": {"50256": -100},
        "max_tokens": 5,
        "tool_choice": "auto",
    }
    assert read(Endpoint.CHAT, chat("w" * 36, **settled)).prompt_tokens == 14
    for name in ("user", "metadata", "stop"):
        value = {"user": str, "metadata": lambda text: {"a": text}, "stop": lambda text: [text]}[name](
            "w" * 10 * MOST_SILENT_BYTES
        )
        assert read(Endpoint.CHAT, chat("w" * 36, **{name: value})).prompt_tokens > 1_000


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": {"type": "function", "function": {"name": PHRASE}}},
        {"user": PHRASE},
        {"metadata": {"note": PHRASE}},
        {"stop": [PHRASE]},
        {"temperature": {PHRASE: 1}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_does_not_count_can_be_looked_at_all_the_same(fields: dict[str, Any]) -> None:
    assert PHRASE in everything_said(read(Endpoint.CHAT, chat(**fields))).texts


def test_a_query_is_read_with_every_document_and_texts_fit_one_by_one() -> None:
    query = {"model": "e", "query": "w" * 360, "documents": ["a"] * 11}
    assert read(Endpoint.RERANK, query).work.unseen_tokens == 1_000
    pairs = {"model": "e", "text_1": ["w" * 360] * 3, "text_2": ["a"] * 3}
    assert read(Endpoint.SCORE, pairs).work.unseen_tokens == 0
    several = read(Endpoint.EMBEDDINGS, {"model": "e", "input": ["w" * 360, *["a"] * 50]})
    assert (several.work.longest_prompt_tokens, several.prompt_tokens) == (104, 113 + 4 * 51)


def test_every_part_with_a_text_is_classified() -> None:
    parts = [{"type": kind, field: kind} for kind, field in TEXT_PARTS.items()]
    assert read(Endpoint.CHAT, chat(parts)).text == "\n".join(TEXT_PARTS)
    assert read(Endpoint.CHAT, chat("first", {"role": " USER", "content": "second"})).text == "second"
