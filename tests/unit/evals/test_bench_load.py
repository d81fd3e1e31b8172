"""Load on plain sockets, against the shipped fake expert."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import pytest

from pointsman.evals.bench.pieces import PIECES_PER_S, STREAMS, cost_of_a_piece, tokens
from pointsman.evals.bench.poisson import arrivals
from pointsman.evals.bench.raw_http import UnexpectedAnswer, whole
from pointsman.experts.backends.fake.script import Fault, Script
from pointsman.experts.backends.fake.server import FakeServer

BODY = '{"model": "fake", "messages": [{"role": "user", "content": "hello"}]}'


@contextlib.asynccontextmanager
async def expert(script: Script) -> AsyncIterator[tuple[FakeServer, str]]:
    server = FakeServer(script)
    await server.start()
    try:
        yield server, server.url.removesuffix("/v1")
    finally:
        await server.aclose()


async def test_requests_arrive_as_often_as_asked_for() -> None:
    async with expert(Script()) as (server, url):
        seen = await arrivals(url, BODY, per_s=200, seconds=1.0, connections=8, seed=1)
        # 300 are due in one and a half seconds, give or take what chance does.
        assert 220 < server.stats.finished < 380
    assert 0 < seen.per_s < 380
    assert 0 < seen.p50_ms <= seen.p99_ms


async def test_a_request_that_waits_for_a_connection_counts_its_wait() -> None:
    # One connection and 20 ms for an answer: 50 a second are all that fit.
    async with expert(Script(ttft_ms=20)) as (_, url):
        calm = await arrivals(url, BODY, per_s=5, seconds=1.0, connections=1, seed=1)
        flooded = await arrivals(url, BODY, per_s=150, seconds=1.0, connections=1, seed=1)
    assert calm.p50_ms >= 20
    assert flooded.p50_ms > 300


async def test_answers_that_are_no_200_end_the_measurement() -> None:
    async with expert(Script(fault=Fault.ERROR)) as (_, url):
        with pytest.raises(UnexpectedAnswer, match="500"):
            await arrivals(url, BODY, per_s=100, seconds=0.5, connections=2, seed=1)
        with pytest.raises(UnexpectedAnswer, match="500"):
            await cost_of_a_piece("fake", url, os.getpid(), window_s=0.2, upstream_pid=os.getpid())


async def test_pieces_of_streams_are_counted_in_the_window_alone() -> None:
    window_s = 0.5
    script = Script(reply="word " * tokens(window_s), tokens_per_s=PIECES_PER_S)
    async with expert(script) as (server, url):
        seen = await cost_of_a_piece("fake", url, os.getpid(), window_s=window_s, upstream_pid=os.getpid())
        assert server.stats.finished == STREAMS
    assert seen.cpu_us > 0
    assert seen.per_read >= 1
    # What came before the window and after it is not in it. How much was in it depends on how fast the machine is.
    assert 0 < seen.per_s * window_s < STREAMS * tokens(window_s)


async def test_a_stream_that_breaks_ends_the_measurement() -> None:
    script = Script(reply="word " * 100, tokens_per_s=PIECES_PER_S, fault=Fault.BREAK, fault_after_tokens=3)
    async with expert(script) as (_, url):
        with pytest.raises(UnexpectedAnswer, match="broke off"):
            await cost_of_a_piece("fake", url, os.getpid(), window_s=0.5, upstream_pid=os.getpid())


def test_an_answer_is_whole_when_its_announced_length_is_there() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
    assert not whole(head)
    assert not whole(head + b"\r\nabc")
    assert whole(head + b"\r\nabcd")
    with pytest.raises(UnexpectedAnswer, match="content-length"):
        whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
