"""Text as it comes becomes an answer; what is behind it ends when the answer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import orjson
import pytest

from pointsman.experts.backends.text_reply import TextReply, reply_with
from pointsman.experts.errors import ExpertTimeout, ExpertUnavailable
from pointsman.experts.http1.client import Timeouts
from pointsman.experts.protocols import ExpertReply
from pointsman.experts.spec import ExpertSpec, Usage
from tests.unit.experts.calls import chat

SPEC = ExpertSpec("under-test", "text", "m")
QUICK = Timeouts(head_s=0.05, idle_s=0.05)


class Source:
    """Gives what it is made of, waits for as many seconds as a number says, and remembers that it was ended."""

    def __init__(self, *things: str | Usage | float) -> None:
        self.things = things
        self.ended = False

    async def texts(self) -> AsyncGenerator[str | Usage, None]:
        try:
            for thing in self.things:
                if isinstance(thing, float):
                    await asyncio.sleep(thing)
                else:
                    yield thing
        finally:
            self.ended = True


async def body(reply: TextReply) -> bytes:
    return b"".join([piece async for piece in reply])


async def test_a_whole_answer_with_its_usage() -> None:
    source = Source("a ", "", "b", Usage(3, 2))
    reply = await reply_with(SPEC, chat(), source.texts(), Timeouts())
    assert isinstance(reply, ExpertReply)
    answer = orjson.loads(await body(reply))
    assert answer["choices"][0]["message"]["content"] == "a b"
    assert answer["usage"]["total_tokens"] == 5
    assert source.ended


@pytest.mark.parametrize(("usage", "told"), [((Usage(3, 2),), [5]), ((), [])])
async def test_a_stream_tells_the_usage_that_is_asked_for_and_known(usage: tuple[Usage, ...], told: list[int]) -> None:
    call = chat(stream=True, stream_options={"include_usage": True})
    events = (await body(await reply_with(SPEC, call, Source("a", "b", *usage).texts(), Timeouts()))).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    said = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert said == ["", "a", "b", None]
    assert [chunk["usage"]["total_tokens"] for chunk in chunks if chunk["usage"]] == told


async def test_no_text_at_all_is_an_empty_answer() -> None:
    answer = orjson.loads(await body(await reply_with(SPEC, chat(), Source().texts(), Timeouts())))
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["usage"] is None


async def test_a_head_that_is_late_ends_the_work() -> None:
    source = Source(5.0, "a")
    with pytest.raises(ExpertTimeout, match="no answer within"):
        await reply_with(SPEC, chat(), source.texts(), QUICK)
    assert source.ended


async def test_a_pause_that_is_too_long_ends_the_work() -> None:
    source = Source("a", 5.0, "b")
    reply = await reply_with(SPEC, chat(stream=True), source.texts(), QUICK)
    with pytest.raises(ExpertTimeout, match="no text for"):
        await body(reply)
    assert source.ended


async def test_closing_it_half_way_and_twice_ends_the_work() -> None:
    source = Source("a", "b", 5.0)
    reply = await reply_with(SPEC, chat(stream=True), source.texts(), Timeouts())
    assert await anext(aiter(reply))
    assert not source.ended
    await reply.aclose()
    await reply.aclose()
    assert source.ended


async def test_a_source_that_fails_before_its_first_text() -> None:
    async def texts() -> AsyncGenerator[str, None]:
        raise ExpertUnavailable("under-test", "gone")
        yield ""

    with pytest.raises(ExpertUnavailable, match="gone"):
        await reply_with(SPEC, chat(), texts(), Timeouts())
