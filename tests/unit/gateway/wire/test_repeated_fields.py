"""A field that stands twice: the expert reads the one that was counted."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.wire.repeated_fields import repeats_a_field
from pointsman.gateway.wire.request import expert_body, parse_inbound

CHAT = b'"model":"e","messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    "body",
    [
        b'{"max_tokens":800,' + CHAT + b',"max_tokens":1}',
        b'{"n":40,' + CHAT + b',"n":1}',
        b'{"n":40,' + CHAT + b',"\\u006e":1}',
        b'{"n" : 40,' + CHAT + b',"n"\n:\t1}',
        b'{"model":"e","messages":[{"role":"user","content":"a","content":"b"}]}',
        b'{"model":"e","messages":[{"role":"system","role":"user","content":"say \\"a\\""}]}',
        b'{"model":"e","messages":[{"role":"user","role":"user","content":"\\u0022\\u0022"}]}',
        b'{"model":"e","messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"a\\\\"}]}',
        b'{"tools":[{"type":"function","type":"function","function":{"name":"f"}}],' + CHAT + b"}",
    ],
)
def test_a_body_that_says_a_thing_twice_is_written_anew(body: bytes) -> None:
    request = parse_inbound(Endpoint.CHAT, body)
    sent = expert_body(request, "e")
    pairs: list[list[str]] = []
    json.loads(sent, object_pairs_hook=lambda found: pairs.append([name for name, _ in found]) or dict(found))
    assert all(len(names) == len(set(names)) for names in pairs)
    assert orjson.loads(sent) == request.payload


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.MESSAGES, b'{"max_tokens":800,' + CHAT + b',"max_tokens":1}'),
        (Endpoint.RESPONSES, b'{"model":"e","input":"a","input":"b"}'),
    ],
)
def test_so_is_one_in_another_api_s_words(endpoint: Endpoint, body: bytes) -> None:
    translated = parse_inbound(endpoint, body).translated
    assert translated is not None
    assert orjson.loads(translated.body_for("e")) == translated.payload
    assert translated.body_for("e").count(b'"max_tokens"') <= 1
    assert translated.body_for("e").count(b'"input"') <= 1


def test_embeddings_are_no_exception() -> None:
    request = parse_inbound(Endpoint.EMBEDDINGS, b'{"model":"e","input":["a"],"input":"b"}')
    assert expert_body(request, "e") == b'{"model":"e","input":"b"}'


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\:{},'), max_size=12)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(texts, documents, max_size=4), st.booleans(), st.sampled_from([None, 2]))
def test_what_stands_once_is_never_taken_for_twice(document: dict[str, Any], ascii_only: bool, indent: int) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    assert not repeats_a_field(body, orjson.loads(body))


@given(st.dictionaries(texts, documents, min_size=1, max_size=4), documents, st.booleans(), st.data())
def test_what_stands_twice_is_always_seen(
    document: dict[str, Any], again: object, ascii_only: bool, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(document)))
    field = json.dumps({name: again}, ensure_ascii=ascii_only)[1:-1]
    nested = data.draw(st.booleans())
    inner = json.dumps(document, ensure_ascii=ascii_only)[:-1] + "," + field + "}"
    body = (f'{{"deep":[{inner}]}}' if nested else inner).encode()
    assert repeats_a_field(body, orjson.loads(body))


@given(st.lists(texts, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_a_plain_chat_keeps_its_bytes_whatever_is_said(said: list[str], ascii_only: bool, parts: bool) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": text}] if parts else text} for text in said
    ]  # fmt: skip
    asked = {"messages": messages, "max_tokens": 9, "model": "e", "stream_options": {"include_usage": True}}
    body = json.dumps(asked, ensure_ascii=ascii_only).encode()
    assert expert_body(parse_inbound(Endpoint.CHAT, body), "e") == body
