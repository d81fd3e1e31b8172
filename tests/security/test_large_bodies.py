"""What a body costs to read is bounded before it is read, and what is large is read beside the event loop."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.experts.protocols import Endpoint
from pointsman.gateway.errors import Code, RequestRefused
from pointsman.gateway.http.body import Body
from pointsman.gateway.wire.json_values import ValueCount
from pointsman.gateway.wire.large_bodies import BodyLimits
from pointsman.gateway.wire.request import parse_inbound
from tests.e2e.running import Running, fake, running

MEGA = 1024 * 1024
LIMITS = BodyLimits(32 * MEGA, 250_000)
KEYS = [
    {"name": "a", "key_env": "KEY_A", "limits": {"requests_per_minute": 3}},
    {"name": "b", "key_env": "KEY_B"},
]
ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaaaaaa", "KEY_B": "sk-bbbbbbbbbbbbbbbbbbbb"}
A, B = ({"authorization": f"Bearer {key}"} for key in ENV.values())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab,:{}[]"\\\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\,{', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def values(document: Any) -> int:
    """By hand: what stands between commas, colons and brackets."""
    if isinstance(document, dict):
        return 1 + len(document) + max(0, len(document) - 1) + sum(map(values, document.values()))
    if isinstance(document, list):
        return 1 + max(0, len(document) - 1) + sum(map(values, document))
    return 0


@given(json_values, st.lists(st.integers(0, 400), max_size=5), st.booleans())
def test_values_are_counted_in_bytes_however_these_are_split(document: Any, cuts: list[int], spaced: bool) -> None:
    said = json.dumps(document, indent=2 if spaced else None, ensure_ascii=False).encode()
    count = ValueCount()
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    for start, end in itertools.pairwise(edges):
        count.feed(said[start:end])
    assert count.found == values(document)


def fed(said: bytes, encoding: bytes = b"") -> bytes:
    body = Body({b"content-encoding": encoding} if encoding else {}, LIMITS)
    for start in range(0, len(said), 60_000):
        body.feed(said[start : start + 60_000])
    return body.whole()


MANY = {
    "objects": b'{"tools":[' + b",".join([b"{}"] * 300_000) + b"]}",
    "lists": b"[" * 300_000,
    "fields": b"{" + b",".join(b'"k%d":1' % index for index in range(200_000)) + b"}",
    "texts": b"[" + b",".join([b'""'] * 300_000) + b"]",
    "two fields of one name": b'{"x":[' + b",".join([b"1"] * 300_000) + b'],"x":1}',
}


@pytest.mark.parametrize("name", MANY)
def test_a_body_of_too_many_values_is_refused_before_it_is_read(name: str) -> None:
    for said, encoding in ((MANY[name], b""), (gzip.compress(MANY[name], 1), b"gzip")):
        with pytest.raises(RequestRefused) as refused:
            fed(said, encoding)
        assert refused.value.code is Code.BODY_TOO_LARGE


@pytest.mark.parametrize("size", [2 * MEGA, 31 * MEGA])
def test_what_little_was_made_to_inflate_to_much_is_refused(size: int) -> None:
    """Whatever it is: text that people write comes to a tenth, not to a thousandth."""
    packed = gzip.compress(b'{"prompt":"' + b"a" * size + b'"}')
    with pytest.raises(RequestRefused) as refused:
        fed(packed, b"gzip")
    assert refused.value.code is Code.BODY_TOO_LARGE
    assert fed(gzip.compress(b"a" * 500_000), b"gzip") == b"a" * 500_000, "a little may inflate to a little more"


def test_large_text_passes_compressed_or_not() -> None:
    words = ["router", "expert", "budget", "prompt", 'say "it"', "[1]", "{x: 2}", "a, b", "\\n", "日本"]
    rnd = random.Random(1)
    said = orjson.dumps({"prompt": " ".join(rnd.choice(words) for _ in range(1_000_000))})
    assert len(said) > 6 * MEGA
    assert fed(said) == said
    assert fed(gzip.compress(said), b"gzip") == said


def test_many_small_pieces_take_no_more_room_than_a_large_one() -> None:
    body = Body({}, LIMITS)
    for _ in range(200_000):
        body.feed(b"ab")
    assert body._rest.__sizeof__() < 1.3 * 400_000
    assert body.whole() == b"ab" * 200_000


@pytest.mark.parametrize("depth", [251, 300, 1000])
def test_a_large_body_is_no_deeper_than_a_small_one_may_be(depth: int) -> None:
    for padding in ("", "a" * 300_000):
        body = b'{"model":"auto","prompt":"%b","x":%b}' % (padding.encode(), b"[" * depth + b"]" * depth)
        if depth < 254:
            assert parse_inbound(Endpoint.COMPLETIONS, body).model == "auto"
        else:
            with pytest.raises(RequestRefused) as refused:
                parse_inbound(Endpoint.COMPLETIONS, body)
            assert refused.value.code is Code.INVALID_JSON


@pytest.fixture
async def gateway() -> AsyncIterator[Running]:
    room = {"context_window_tokens": 20_000_000, "options": {"reply": "ok"}}
    pool = [fake("only", generalist=True, **room), fake("other", **room)]
    tree = {"pool": {"experts": pool}, "auth": {"keys": KEYS}, "router": {"flags": True}}
    async with running(tree, ENV) as gateway:
        yield gateway


def turns(count: int, text: str) -> list[dict[str, str]]:
    return [{"role": "user" if index % 2 == 0 else "assistant", "content": text} for index in range(count)]


LARGE: dict[str, tuple[str, dict[str, Any]]] = {
    "a long prompt": ("/v1/chat/completions", {"messages": turns(1, "word and [more] words, " * 200_000)}),
    "many messages": ("/v1/chat/completions", {"messages": turns(20_001, "hello there")}),
    "with a flag": ("/v1/chat/completions", {"messages": turns(1, "[Flag: smallest model]" + " word" * 200_000)}),
    "with routing": ("/v1/chat/completions", {"messages": turns(1, "a" * MEGA), "routing": {"max_cost_usd": 100}}),
    "messages": ("/v1/messages", {"max_tokens": 5, "messages": turns(10_001, "hello " * 10)}),
    "responses": ("/v1/responses", {"input": turns(10_001, "hello " * 10)}),
    "token ids": ("/v1/completions", {"prompt": list(range(100_000, 200_000))}),
    "tokens to count": ("/v1/messages/count_tokens", {"messages": turns(1, "word " * 200_000)}),
    "a decision": ("/v1/route", {"messages": turns(1, "word " * 200_000)}),
}


@pytest.mark.parametrize("name", LARGE)
async def test_large_ordinary_requests_are_answered(gateway: Running, name: str) -> None:
    path, asked = LARGE[name]
    body = orjson.dumps({"model": "auto", **asked})
    assert len(body) > 256 * 1024
    async with aiohttp.ClientSession(gateway.url, headers=B) as http:
        async with http.post(path, data=body) as reply:
            assert reply.status == 200, await reply.text()
        async with http.post(path, data=body.replace(b'"auto"', b'"nobody"')) as reply:
            assert reply.status in (404, 200)
        async with http.post(path, data=body[:-1]) as reply:
            assert (reply.status, (await reply.json())["error"].get("code", "invalid_json")) == (400, "invalid_json")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
@pytest.mark.parametrize("wrong", ["too many values", "no JSON", "no model", "nobody"])
async def test_a_refused_request_counts_against_the_rate(gateway: Running, path: str, wrong: str) -> None:
    body = {
        "too many values": MANY["objects"],
        "no JSON": b"{",
        "no model": b'{"messages":1}',
        "nobody": orjson.dumps({"model": "nobody", "messages": turns(1, "hi")}),
    }[wrong]
    async with aiohttp.ClientSession(gateway.url, headers=A) as http:
        statuses = []
        # The minute may end in between.
        for _ in range(9):
            async with http.post(path, data=body) as reply:
                statuses.append(reply.status)
    assert statuses[0] in (400, 404, 413, 422)
    assert 429 in statuses


async def test_bodies_of_the_control_plane_are_small(gateway: Running) -> None:
    async with aiohttp.ClientSession(gateway.url, headers=B) as http:
        for body in (b"[" * 100_000, b"1" * MEGA, b'{"a":' * 20_000):
            async with http.post("/v1/feedback", data=body, headers={"content-type": "application/json"}) as reply:
                assert reply.status == 413, await reply.text()
                assert (await reply.json())["error"]["code"] == "body_too_large"
