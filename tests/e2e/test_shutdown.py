"""What a client sees of a gateway that stops before its answer is complete."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.running import Transport, both
from tests.e2e.test_transports import CHUNK, chat, chunk, gateway_of, stream_head
from tests.unit.experts.raw_server import Peer


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_outlasts_the_grace_ends_with_an_error(transport: Transport, stream: bool) -> None:
    asked = asyncio.Event()

    async def answering(peer: Peer, request: bytes) -> None:
        if stream:
            await peer.say(stream_head() + chunk(CHUNK % b"one"))
        asked.set()
        await peer.until_left()

    async with gateway_of(answering, transport=transport) as gateway:
        call = asyncio.create_task(gateway.post(chat(stream=stream)))
        await asked.wait()
        await asyncio.sleep(0.1)
    status, headers, body = await call
    assert b"[DONE]" not in body
    if stream:
        assert status == 200
        error = json.loads(body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    else:
        assert (status, headers["retry-after"]) == (503, "1")
        error = json.loads(body)["error"]
    assert error["code"] == "shutting_down"
