"""What fuzzing has found, each once more."""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp
import pytest

from pointsman.experts.protocols import Endpoint
from pointsman.experts.spec import Usage
from pointsman.gateway.wire.reply import EventStream, usage_in
from pointsman.gateway.wire.request import expert_body, parse_inbound
from pointsman.gateway.wire.usage import ABSURD
from tests.e2e.running import fake, running
from tests.fuzz.targets import response

TURN = b'"messages":[{"role":"user","content":"hello"}]'


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"large","model":"small",%b}' % TURN,
        b'{"mod\\u0065l":"large","model":"small",%b}' % TURN,
        b'{"model":"large","\\u006dodel":"small",%b}' % TURN,
        b'{"mod\\u0065l":"small","metadata":{"model":"large"},%b}' % TURN,
    ],
    ids=["twice", "escaped first", "escaped last", "escaped, and one within"],
)
@pytest.mark.parametrize("model", ["small", "org/small-7b"])
def test_every_parser_reads_the_same_model_from_a_body(body: bytes, model: str) -> None:
    inbound = parse_inbound(Endpoint.CHAT, body)
    assert inbound.model == "small"
    outermost: list[tuple[str, Any]] = []
    json.loads(expert_body(inbound, model), object_pairs_hook=lambda pairs: outermost.__setitem__(slice(None), pairs))
    assert [value for name, value in outermost if name == "model"] == [model]


def test_only_the_first_model_of_an_event_is_renamed_in_however_many_events() -> None:
    said = b'data: {"model":"in","of":{"model":"in"}}\n\ndata: {"model":"in"}\n\ndata: [DONE]\n\n'
    stream = EventStream("out")
    stream.feed(b'data: {"model":"in"}\n\n')  # from here on it knows what to look for
    assert stream.feed(said).count(b'{"model":"out"') == 2
    assert stream.feed(said).count(b'"of":{"model":"in"}') == 1


def test_data_of_two_events_makes_no_end() -> None:
    stream = EventStream("m")
    stream.feed(b"data:\n\n [DONE]\n\n")
    assert not stream.done


@pytest.mark.parametrize("space", [b"", b" ", b"   "])
def test_usage_is_read_beside_any_other_fields(space: bytes) -> None:
    said = b'data: {"usage":%b{"prompt_tokens":1}}\n\n' % space
    for company in (b"", b'data: {"usage":{"other":1}}\n\n', b'data: {"usage":null}\n\n'):
        stream = EventStream("m")
        stream.feed(company + said)
        assert stream.usage == Usage(1, 0)


def test_an_event_at_the_very_start_leaves_at_once() -> None:
    stream = EventStream("m")
    assert stream.feed(b":\n\ndata: 1") == b":\n\n"


@pytest.mark.parametrize("prompt", ["-1", "true", "1.5", '"7 tokens"', "1e30"])
def test_usage_that_counts_nothing_is_absurd(prompt: str) -> None:
    assert usage_in(b'{"usage":{"prompt_tokens":%b,"completion_tokens":3}}' % prompt.encode()) is ABSURD


def test_a_long_event_in_small_pieces_takes_no_longer_than_in_large_ones() -> None:
    """Searching all that is held with every piece took minutes for this."""
    stream, piece = EventStream("m"), b"data: " + b"a" * 57 + b"\n"
    began_s = time.thread_time()
    for _ in range(6 * 1024 * 1024 // len(piece)):
        assert stream.feed(piece) == b""
    assert time.thread_time() - began_s < 5
    assert len(stream.finish()) == 6 * 1024 * 1024 // len(piece) * len(piece)


def test_an_event_without_end_passes_in_pieces_and_is_never_held_whole() -> None:
    stream, piece = EventStream("m"), b"a" * 1_000_000
    passed = [len(stream.feed(piece)) for _ in range(40)]
    held = [sum(len(piece) - out for out in passed[: index + 1]) for index in range(40)]
    assert max(held) <= 9_000_000
    assert sum(passed) + len(stream.finish()) == 40 * len(piece)


@pytest.mark.parametrize("field", ["decision_id", "comment", "\ud800"])
async def test_half_a_surrogate_pair_is_a_clients_error(field: str) -> None:
    """FastAPI reads it; nothing can write it."""
    tree = {"pool": {"experts": [fake("only", generalist=True)]}}
    async with running(tree) as gateway, aiohttp.ClientSession(gateway.url) as http:
        asked = {"model": "only", "messages": [{"role": "user", "content": "hello"}]}
        async with http.post("/v1/chat/completions", json=asked) as reply:
            decision = reply.headers["x-pointsman-decision"]
        said = json.dumps({"decision_id": decision, "quality": 1, field: "a\ud800"})
        async with http.post("/v1/feedback", data=said, headers={"content-type": "application/json"}) as reply:
            assert reply.status == 400, await reply.text()
            assert (await reply.json())["error"]["message"]


@pytest.mark.parametrize("status", [b"002", b"099", b"600", b"999"])
def test_a_status_that_no_client_knows_is_no_answer(status: bytes) -> None:
    response(b"\x40\x60\x80\xff" + b"HTTP/1.1 " + status + b" X\r\ncontent-length: 0\r\n\r\n")
