"""What every backend promises, whatever is behind it: `experts/protocols.py`, checked on each that can run here."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pointsman.experts.backends.fake import Fault, Script
from pointsman.experts.errors import ExpertError, ExpertStreamBroken, ExpertTimeout
from pointsman.experts.protocols import TEXT_ENDPOINTS, Endpoint, Expert, ExpertCall, ExpertReply
from tests.contract.expert_rigs import COUNTED, RIGS, STEERED, Rig, call, rigged, settled

Json = dict[str, Any]


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rigged(request.param) as rig:
        yield rig


@pytest.fixture(params=COUNTED)
async def counted(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig whose far end counts what became of its calls."""
    async with rigged(request.param) as rig:
        yield rig


@pytest.fixture(params=STEERED)
async def steered(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A rig whose far end can be told to fail."""
    async with rigged(request.param) as rig:
        yield rig


def call_of(rig: Rig, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> ExpertCall:
    """A call as the gateway makes it: with the model id that the expert knows."""
    return call(endpoint, model=rig.expert.spec.model, **fields)


async def body_of(reply: ExpertReply) -> bytes:
    try:
        return b"".join([piece async for piece in reply])
    finally:
        await reply.aclose()


async def whole(rig: Rig, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> Json:
    reply = await rig.expert.call(call_of(rig, endpoint, **fields))
    assert reply.status == 200
    assert dict(reply.headers)[b"content-type"].startswith(b"application/json")
    answer: Json = orjson.loads(await body_of(reply))
    return answer


async def events(rig: Rig, endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> list[Json]:
    """The events of a stream, without the [DONE] that must be its last."""
    reply = await rig.expert.call(call_of(rig, endpoint, stream=True, **fields))
    assert reply.status == 200
    assert dict(reply.headers)[b"content-type"].startswith(b"text/event-stream")
    frames = (await body_of(reply)).split(b"\n\n")
    assert frames.pop() == b""
    assert frames.pop() == b"data: [DONE]"
    assert all(frame.startswith(b"data: {") for frame in frames)
    return [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]


def text_of(answer: Json, endpoint: Endpoint) -> str:
    choice = answer["choices"][0]
    text: str = choice["message"]["content"] if endpoint is Endpoint.CHAT else choice["text"]
    return text


def streamed_text(chunks: list[Json], endpoint: Endpoint) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    if endpoint is Endpoint.CHAT:
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    return "".join(choice["text"] for choice in choices)


def test_every_backend_of_ours_is_under_it() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(RIGS) == set(project["entry-points"]["pointsman.backends"])


def test_it_is_an_expert(rig: Rig) -> None:
    assert isinstance(rig.expert, Expert)
    assert rig.expert.spec.name == "under-test"


async def test_an_answer(rig: Rig) -> None:
    answer = await whole(rig)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["created"] > 1_700_000_000
    assert answer["model"]
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_completion(rig: Rig) -> None:
    answer = await whole(rig, Endpoint.COMPLETIONS)
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"]
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("endpoint", TEXT_ENDPOINTS)
async def test_a_stream_says_what_the_whole_answer_says(rig: Rig, endpoint: Endpoint) -> None:
    answer, chunks = await whole(rig, endpoint), await events(rig, endpoint)
    assert streamed_text(chunks, endpoint) == text_of(answer, endpoint)
    kind = "chat.completion.chunk" if endpoint is Endpoint.CHAT else "text_completion"
    assert {chunk["object"] for chunk in chunks} == {kind}
    assert len({chunk["id"] for chunk in chunks}) == 1
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons[-1] == answer["choices"][0]["finish_reason"]
    assert set(reasons[:-1]) == {None}
    assert all(not chunk.get("usage") for chunk in chunks)
    if endpoint is Endpoint.CHAT:
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


@pytest.mark.parametrize("endpoint", TEXT_ENDPOINTS)
async def test_the_usage_of_a_stream_comes_last_and_without_a_choice(rig: Rig, endpoint: Endpoint) -> None:
    answer = await whole(rig, endpoint)
    chunks = await events(rig, endpoint, stream_options={"include_usage": True})
    counted = [chunk for chunk in chunks if chunk.get("usage")]
    assert counted == chunks[-1:]
    assert counted[0]["choices"] == []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert counted[0]["usage"][name] == answer["usage"][name]


async def test_a_stream_comes_as_it_is_made(rig: Rig) -> None:
    loop = asyncio.get_running_loop()
    await whole(rig)  # the first call may pay for what is loaded late
    reply = await rig.expert.call(call_of(rig, stream=True))
    began_s = loop.time()
    times = [loop.time() - began_s async for _ in reply]
    await reply.aclose()
    assert len(times) > 3
    assert times[0] < times[-1] / 2


async def test_calls_at_once_do_not_mix(rig: Rig) -> None:
    first = text_of(await whole(rig), Endpoint.CHAT)
    texts = await asyncio.gather(*(events(rig) for _ in range(8)))
    assert [streamed_text(chunks, Endpoint.CHAT) for chunks in texts] == [first] * 8


async def test_leaving_a_stream_half_way_and_twice(rig: Rig) -> None:
    reply = await rig.expert.call(call_of(rig, stream=True))
    assert await anext(aiter(reply))
    await reply.aclose()
    await reply.aclose()
    assert await whole(rig)


async def test_leaving_a_stream_cancels_the_work(counted: Rig) -> None:
    reply = await counted.expert.call(call_of(counted, stream=True))
    assert await anext(aiter(reply))
    await reply.aclose()
    assert (await settled(counted)).cancelled == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_a_call_cancels_the_work(counted: Rig, stream: bool) -> None:
    await whole(counted)

    async def ask() -> None:
        await body_of(await counted.expert.call(call_of(counted, stream=stream)))

    task = asyncio.create_task(ask())
    while counted.stats().started < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stats = await settled(counted)
    assert (stats.finished, stats.cancelled) == (1, 1)
    assert await whole(counted)


async def test_a_probe_of_a_well_expert(rig: Rig) -> None:
    assert await rig.expert.probe() is None


async def test_starting_and_closing_twice(rig: Rig) -> None:
    await rig.expert.start()
    assert await whole(rig)
    await rig.expert.aclose()
    await rig.expert.aclose()


async def test_a_limit_on_tokens(steered: Rig) -> None:
    answer = await whole(steered, max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_status_is_a_reply(steered: Rig, status: int, stream: bool) -> None:
    steered.steer(Script(fault=Fault.ERROR, error_status=status))
    reply = await steered.expert.call(call_of(steered, stream=stream))
    error = orjson.loads(await body_of(reply))["error"]
    assert reply.status == status
    assert "the script says so" in error["message"]
    assert error["type"]


async def test_when_to_come_back_is_passed_on(steered: Rig) -> None:
    steered.steer(Script(fault=Fault.ERROR, error_status=429, retry_after_s=7))
    reply = await steered.expert.call(call_of(steered))
    await reply.aclose()
    assert dict(reply.headers)[b"retry-after"] == b"7"


async def test_a_server_that_is_down_is_an_error_that_allows_a_fallback(steered: Rig) -> None:
    steered.steer(Script(fault=Fault.REFUSE))
    with pytest.raises(ExpertError) as caught:
        await steered.expert.call(call_of(steered))
    assert caught.value.expert == "under-test"
    assert caught.value.transient


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_does_not_come(steered: Rig, stream: bool) -> None:
    await whole(steered)
    steered.steer(Script(fault=Fault.HANG_HEAD))
    with pytest.raises(ExpertTimeout):
        await steered.expert.call(call_of(steered, stream=stream, head_timeout_s=0.2))
    assert (await settled(steered)).cancelled == 1


async def test_a_stream_that_breaks(steered: Rig) -> None:
    steered.steer(Script(fault=Fault.BREAK, fault_after_tokens=2, tokens_per_s=100))
    reply = await steered.expert.call(call_of(steered, stream=True))
    with pytest.raises(ExpertStreamBroken) as caught:
        await body_of(reply)
    assert not caught.value.transient


async def test_a_stream_that_stalls(steered: Rig) -> None:
    steered.steer(Script(fault=Fault.HANG_BODY, fault_after_tokens=2))
    reply = await steered.expert.call(call_of(steered, stream=True, idle_timeout_s=0.2))
    with pytest.raises(ExpertTimeout):
        await body_of(reply)
    assert (await settled(steered)).cancelled == 1
