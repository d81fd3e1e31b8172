"""What experts answer when they answer no request: who is asked next, what the client is told, and who is left out."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import openai
import orjson
import pytest

from tests.e2e.running import Running, both, eventually, running
from tests.security.upstream import ENV, Heard, expert, saying
from tests.unit.experts.raw_server import Peer, talking

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "inner",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "from second"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHUNKS = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"inner","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"from second"},"finish_reason":null}]}\n\n'
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"inner","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
MESSAGES = [{"role": "user", "content": "hello there"}]
JSON, EVENTS = b"application/json", b"text/event-stream"


def says(body: bytes | dict[str, Any], status: int = 200, kind: bytes = JSON, *further: bytes) -> bytes:
    """A whole response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n" % (status, kind, len(data))
    return head + b"".join(line + b"\r\n" for line in further) + b"\r\n" + data


def good(request: bytes) -> bytes:
    """The answer of an expert that is well."""
    streamed = json.loads(request.partition(b"\r\n\r\n")[2]).get("stream")
    return says(CHUNKS, 200, EVENTS) if streamed else says(ANSWER)


def pool(first: Heard, second: Heard, **more: Any) -> dict[str, Any]:
    """The better one of two is the first."""
    experts = [
        expert(first, name="first", quality_prior={"*": 0.9}),
        expert(second, name="second", quality_prior={"*": 0.1}),
    ]
    return {"pool": {"experts": experts, "probe_interval_s": 0}, "retries": {"share": 1.0}, **more}


async def ask(
    gateway: Running, model: str = "auto", path: str = "/v1/chat/completions", **fields: Any
) -> tuple[int, dict[str, str], bytes]:
    body: dict[str, Any] = {"model": model, "messages": MESSAGES, **fields}
    if path == "/v1/responses":
        body["input"] = body.pop("messages")
    if path == "/v1/messages":
        body["max_tokens"] = 5
    async with aiohttp.ClientSession(gateway.url) as http, http.post(path, json=body) as reply:
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()


def state(gateway: Running, name: str = "first") -> Any:
    """An expert's state as it is now."""
    return next(state for spec, state in gateway.app.runtime.pool.snapshot().entries if spec.name == name)


def counts(gateway: Running, name: str = "first") -> tuple[int, int, int]:
    found = gateway.app.runtime.pool.counts(name)
    return found.succeeded, found.failed, found.cancelled


ERROR = {"error": {"message": "out of order", "type": "server_error"}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [408, 425, 500, 501, 507, 520, 522, 524, 529, 599])
async def test_a_failure_of_the_server_falls_back_and_counts(status: int, stream: bool) -> None:
    async with saying(says(ERROR, status)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        for _ in range(3):
            code, headers, body = await ask(gateway, stream=stream)
            assert (code, headers["x-pointsman-expert"]) == (200, "second")
            assert b"from second" in body
        assert counts(gateway) == (0, 3, 0)
        assert not state(gateway).healthy, "three in a row"
        await ask(gateway, stream=stream)
        assert len(bad.requests) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (402, {"error": {"message": "Insufficient Balance"}}),
        (429, {"error": {"message": "quota", "type": "insufficient_quota", "code": "insufficient_quota"}}),
        (400, {"type": "error", "error": {"type": "x", "message": "Your credit balance is too low to use the API"}}),
        (401, {"error": {"message": "Incorrect API key provided: sk-the-operators-own", "code": "invalid_api_key"}}),
        (403, {"error": {"message": "Your account has been deactivated", "code": "account_deactivated"}}),
        (404, {"error": {"message": "The model `inner` does not exist", "code": "model_not_found"}}),
        (307, b""),
    ],
)
async def test_what_only_the_operator_can_mend_is_said_once_and_leaves_the_expert_out(
    status: int, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with saying(says(said, status)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        with caplog.at_level(logging.ERROR):
            for _ in range(4):
                code, headers, _ = await ask(gateway)
                assert (code, headers["x-pointsman-expert"]) == (200, "second")
            assert len(bad.requests) == 1, "one such failure is enough"
            assert not state(gateway).healthy
            told = [one.getMessage() for one in caplog.records if "first" in one.getMessage()]
            assert len(told) == 1
            assert str(status) in told[0]
            # The circuit is half open after a second: another trial says nothing new.
            await eventually(lambda: state(gateway).healthy, 10)
            assert (await ask(gateway))[0] == 200
            assert len(bad.requests) == 2
            assert len([one for one in caplog.records if "first" in one.getMessage()]) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("status", [401, 402])
async def test_by_name_what_only_the_operator_can_mend_tells_nothing_of_the_operator(status: int, path: str) -> None:
    said = {"error": {"message": "Incorrect API key provided: sk-the-operators-own", "code": "invalid_api_key"}}
    async with saying(says(said, status)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        code, headers, body = await ask(gateway, "first", path)
        assert code == 502
        assert headers["x-should-retry"] == "false", "no use asking again"
        assert b"sk-the" not in body
        assert b"'first'" in body
        assert not well.requests


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {"error": {"message": "Invalid type for 'messages'", "type": "invalid_request_error"}}),
        (413, {"error": {"message": "too large a body"}}),
        (422, {"error": {"message": "field required"}}),
        (403, {"error": {"message": "Your input was flagged", "code": "content_policy_violation"}}),
        (400, {"error": {"message": "Previous response not found", "code": "previous_response_not_found"}}),
        (404, {"error": {"message": "Response with id 'resp_1' not found"}}),
    ],
)
async def test_what_the_caller_did_goes_back_as_it_is_and_counts_as_no_failure(status: int, said: Any) -> None:
    async with saying(says(said, status)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        for _ in range(4):
            code, headers, body = await ask(gateway)
            assert (code, headers["x-pointsman-expert"]) == (status, "first")
            assert json.loads(body) == said
        assert not well.requests
        assert counts(gateway) == (4, 0, 0)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_that_may_be_the_requests_keeps_its_words_by_name_and_shuts_nobody_out(status: int) -> None:
    """Only many in a row speak for something that is wrong with the gateway itself."""

    def flagging(request: bytes) -> bytes:
        said = {"error": {"message": "the tools of elephants are not for you, says 127.0.0.1", "type": "server_error"}}
        return says(said, status) if b"elephant" in request else good(request)

    async with saying(flagging) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        elephant = [{"role": "user", "content": "an elephant"}]
        for _ in range(5):
            code, _, body = await ask(gateway, "first", messages=elephant)
            assert code == status
            assert b"of elephants" in body
            code, headers, _ = await ask(gateway, "auto", messages=elephant)
            assert (code, headers["x-pointsman-expert"]) == (200, "second")
            assert (await ask(gateway, "first"))[0] == 200
        for _ in range(9):
            await ask(gateway, "first", messages=elephant)
        assert state(gateway).healthy
        await ask(gateway, "first", messages=elephant)
        assert not state(gateway).healthy, "ten in a row, and nobody got an answer between"


async def test_busy_is_not_sick() -> None:
    said = says({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429, JSON, b"retry-after: 7")
    async with saying(said) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        for _ in range(5):
            assert (await ask(gateway))[1]["x-pointsman-expert"] == "second"
        assert state(gateway).healthy
        code, headers, body = await ask(gateway, "first")
        assert (code, headers["retry-after"]) == (429, "7")
        assert b"slow down" in body


IN_200 = {"error": {"message": "Provider returned error: upstream is gone", "code": 503}, "user_id": "u"}
BEGINNINGS: dict[str, tuple[bytes, bool]] = {
    "an error": (b"data: " + json.dumps(IN_200).encode() + b"\n\ndata: [DONE]\n\n", True),
    "a comment, then an error": (b": wait\n\ndata: " + json.dumps(IN_200).encode() + b"\n\n", True),
    "an error event": (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"is gone"}}\n\n',
        True,
    ),
    "nothing, and ends": (b"", True),
    "only done": (b"data: [DONE]\n\n", True),
    "only a comment": (b": wait\n\n", True),
    "nothing, and closes": (b"", False),
    "a comment, and closes": (b": wait\n\n", False),
    "half an event, and closes": (b'data: {"choices":', False),
    "an end by a server that is stopped": (
        (
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\ndata: [DONE]\n\n'
        ),
        True,
    ),
}
ABORTED = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "I beg"}, "finish_reason": "abort"}]}


def streamed(body: bytes, clean: bool) -> Callable[[Peer], Any]:
    async def talk(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await peer.say(head, *((b"%x\r\n%b\r\n" % (len(body), body),) if body else ()))
        if clean:
            await peer.say(b"0\r\n\r\n")
        peer.writer.close()

    return talk


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("name", BEGINNINGS)
async def test_a_stream_that_says_nothing_or_an_error_first_is_no_answer(name: str, path: str) -> None:
    async with talking(streamed(*BEGINNINGS[name])) as server, saying(good) as well:
        bad = Heard(f"http://127.0.0.1:{server.port}")
        async with running(pool(bad, well), ENV) as gateway:
            code, headers, body = await ask(gateway, path=path, stream=True)
            assert (code, headers["x-pointsman-expert"]) == (200, "second")
            assert b"from second" in body
            assert counts(gateway) == (0, 1, 0)
            # By name nobody else answers, and there is an error in place of a stream.
            code, _, body = await ask(gateway, "first", path, stream=True)
            assert code in {500, 502, 503}
            assert "error" in json.loads(body)
            if "error" in name:
                assert b"is gone" in body


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize(
    "body",
    [
        json.dumps(IN_200).encode(),
        b"",
        b"<html>welcome</html>",
        b"ok",
        b'{"choices": [{"mess',
        json.dumps(ABORTED).encode(),
        orjson.dumps(ABORTED),
    ],
)
async def test_a_whole_answer_that_is_none_is_no_answer(body: bytes, path: str) -> None:
    async with saying(says(body)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        code, headers, said = await ask(gateway, path=path)
        assert (code, headers["x-pointsman-expert"]) == (200, "second")
        assert b"from second" in said
        assert counts(gateway) == (0, 1, 0)
        code, _, said = await ask(gateway, "first", path)
        assert code in {502, 503}
        if b"error" in body:
            assert b"upstream is gone" in said


async def test_comments_are_kept_back_for_a_while_and_then_reach_the_client() -> None:
    go_on = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await peer.say(head + b": thinking\n\n")
        await go_on.wait()
        await peer.say(CHUNKS)
        peer.writer.close()

    async with talking(talk) as server, saying(good) as well:
        tree = pool(Heard(f"http://127.0.0.1:{server.port}"), well, server={"first_event_timeout_s": 0.2})
        async with running(tree, ENV) as gateway, aiohttp.ClientSession(gateway.url) as http:
            body = {"model": "auto", "messages": MESSAGES, "stream": True}
            async with http.post("/v1/chat/completions", json=body) as reply:
                assert reply.headers["x-pointsman-expert"] == "first"
                assert await reply.content.readline() == b": thinking\n"
                go_on.set()
                assert b"from second" in await reply.read()
            assert not well.requests


async def test_an_error_in_the_middle_of_a_stream_passes_and_counts() -> None:
    broken = CHUNKS[: CHUNKS.index(b"\n\n") + 2] + b'data: {"error":{"message":"engine dead"}}\n\ndata: [DONE]\n\n'
    async with saying(says(broken, 200, EVENTS)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        _, headers, body = await ask(gateway, stream=True)
        assert headers["x-pointsman-expert"] == "first"
        assert body.endswith(b'data: {"error":{"message":"engine dead"}}\n\ndata: [DONE]\n\n')
        assert counts(gateway) == (0, 1, 0)


UNSUPPORTED = {"error": {"message": "Unsupported parameter: 'n'", "type": "invalid_request_error",
                         "code": "unsupported_parameter", "param": "n"}}  # fmt: skip
TOO_LONG = {"error": {"message": "This model's maximum context length is 8 tokens", "code": "context_length_exceeded"}}


@pytest.mark.parametrize("said", [UNSUPPORTED, TOO_LONG])
async def test_what_one_expert_does_not_take_is_asked_of_the_next(said: dict[str, Any]) -> None:
    async with saying(says(said, 400)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        code, headers, _ = await ask(gateway)
        assert (code, headers["x-pointsman-expert"]) == (200, "second")
        assert counts(gateway) == (1, 0, 0), "it did as it should"
        code, _, body = await ask(gateway, "first")
        assert (code, json.loads(body)) == (400, said)


async def test_where_nobody_takes_it_the_first_refusal_goes_to_the_client() -> None:
    other = {"error": {"message": "Unknown parameter: 'n'", "code": "unknown_parameter"}}
    async with (
        saying(says(UNSUPPORTED, 400)) as first,
        saying(says(other, 422)) as second,
        running(pool(first, second), ENV) as gateway,
    ):
        code, headers, body = await ask(gateway)
        assert (code, headers["x-pointsman-expert"], json.loads(body)) == (400, "first", UNSUPPORTED)
        assert len(second.requests) == 1


async def test_a_request_that_is_too_long_goes_to_longer_windows_alone() -> None:
    async with saying(says(TOO_LONG, 400)) as short, saying(good) as long, saying(good) as shorter:
        windows = {"first": 1000, "second": 4000, "third": 500}
        tree = pool(short, long)
        tree["pool"]["experts"].append(expert(shorter, name="third", quality_prior={"*": 0.8}))
        for one in tree["pool"]["experts"]:
            one["context_window_tokens"] = windows[one["name"]]
        async with running(tree, ENV) as gateway:
            assert (await ask(gateway))[1]["x-pointsman-expert"] == "second"
            assert not shorter.requests


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"message": "out of memory"}, JSON, "out of memory"),
        ({"detail": [{"loc": ["body", "x"], "msg": "out of memory"}]}, JSON, "out of memory"),
        (b"<html><title>out of memory</title></html>", b"text/html", "out of memory"),
        (b"out of memory", b"text/plain", "out of memory"),
        (b"", b"text/plain", "status 500"),
    ],
)
async def test_an_error_of_another_shape_keeps_its_words_for_the_sdks(body: Any, kind: bytes, words: str) -> None:
    async with saying(says(body, 500, kind)) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as failed:
                await client.chat.completions.create(model="first", messages=MESSAGES)  # type: ignore[arg-type]
            assert isinstance(failed.value.body, dict)
            assert words in failed.value.body["message"]
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="x", max_retries=0) as client:
            with pytest.raises(anthropic.InternalServerError) as refused:
                await client.messages.create(model="first", max_tokens=5, messages=MESSAGES)  # type: ignore[arg-type]
            assert words in str(refused.value.body)
            assert refused.value.response.headers["content-type"] == "application/json"


def _deflated(data: bytes) -> bytes:
    """Without zlib's header, as some servers do it."""
    squeezing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezing.compress(data) + squeezing.flush()


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("coding", "squeeze"),
    [(b"gzip", gzip.compress), (b"GZIP", gzip.compress), (b"deflate", zlib.compress), (b"deflate", _deflated)],
)
async def test_an_answer_that_came_compressed_is_read(
    transport: Any, coding: bytes, squeeze: Callable[[bytes], bytes], stream: bool
) -> None:
    data = CHUNKS if stream else json.dumps(ANSWER).encode()
    said = says(squeeze(data), 200, EVENTS if stream else JSON, b"content-encoding: " + coding)
    async with (
        saying(said) as one,
        saying(good) as other,
        running(pool(one, other), ENV, transport=transport) as gateway,
    ):
        for path in ("/v1/chat/completions", "/v1/messages"):
            code, headers, body = await ask(gateway, "first", path, stream=stream)
            assert code == 200
            assert b"from second" in body
            assert "content-encoding" not in headers
        assert b"accept-encoding: identity" in one.requests[0].lower()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"zstd", b"(\xb5/\xfd"),
        (b"gzip", b"this is no gzip"),
        (b"gzip", gzip.compress(json.dumps(ANSWER).encode())[:40]),
        (b"gzip", gzip.compress(b"[" + b" " * 80_000_000)),
        (b"gzip, br", b"x"),
    ],
    # Not by their bytes, in which gzip writes the time.
    ids=["no coding that is read", "no gzip", "cut off", "far too large", "two codings"],
)
async def test_what_cannot_be_read_falls_back(coding: bytes, body: bytes) -> None:
    said = says(body, 200, JSON, b"content-encoding: " + coding)
    async with saying(said) as bad, saying(good) as well, running(pool(bad, well), ENV) as gateway:
        code, headers, _ = await ask(gateway)
        assert (code, headers["x-pointsman-expert"]) == (200, "second")
        assert (await ask(gateway, "first"))[0] == 502


@both
async def test_by_default_nothing_is_throttled(transport: Any) -> None:
    """As many requests at once as there are: all of them are with their experts before the first is answered."""
    at_once, there, answer = 200, 0, asyncio.Event()

    async def talk(peer: Peer) -> None:
        nonlocal there
        await peer.request()
        there += 1
        await answer.wait()
        await peer.say(says(CHUNKS, 200, EVENTS, b"connection: close"))
        peer.writer.close()

    async with talking(talk) as one, talking(talk) as other:
        tree = pool(Heard(f"http://127.0.0.1:{one.port}"), Heard(f"http://127.0.0.1:{other.port}"))
        for two in tree["pool"]["experts"]:
            two["quality_prior"] = {"*": 0.5}
        async with running(tree, ENV, transport=transport) as gateway:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(gateway.url, connector=connector) as http:

                async def one_stream() -> bytes:
                    body = {"model": "auto", "messages": MESSAGES, "stream": True}
                    async with http.post("/v1/chat/completions", json=body) as reply:
                        assert reply.status == 200
                        return await reply.read()

                asked = [asyncio.create_task(one_stream()) for _ in range(at_once)]
                await eventually(lambda: there == at_once, 30)
                answer.set()
                assert all(b"from second" in body for body in await asyncio.gather(*asked))


async def test_what_an_expert_never_takes_is_asked_of_the_next_however_much_was_asked_again() -> None:
    """It is no retry; what fails, or is too much, may feed itself."""
    none = {"share": 0.0, "least_per_s": 0.0}
    busy = says({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429)
    for said, code in ((busy, 429), (says(UNSUPPORTED, 400), 200), (says(ERROR, 402), 200), (says(ERROR, 500), 500)):
        async with saying(said) as bad, saying(good) as well, running(pool(bad, well, retries=none), ENV) as gateway:
            assert (await ask(gateway))[0] == code
