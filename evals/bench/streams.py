"""Many streams at once, and requests at a fixed pace: what a gateway adds to what the expert takes by itself."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import numpy as np

from experts.http1.client import Client, Limits
from experts.http1.failures import HttpFailure
from experts.http1.origin import Origin

_HEADERS = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, slots=True)
class Streams:
    """What concurrent streams saw.

    Attributes:
        complete: Streams that ended as they should.
        broken: All others.
        gaps_ms: Between two pieces of one stream, sorted.
    """

    complete: int
    broken: int
    gaps_ms: tuple[float, ...]

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the gaps; NaN without any."""
        return float(np.percentile(self.gaps_ms, percent)) if self.gaps_ms else float("nan")


def _client(url: str, connections: int) -> tuple[Client, bytes]:
    client = Client(Origin.parse(url), limits=Limits(max_connections=connections, max_queued=connections))
    return client, client.prepare("POST", "/v1/chat/completions", _HEADERS)


def _body(model: str, *, stream: bool) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream}).encode()


async def concurrent_streams(url: str, model: str, count: int, *, ramp_s: float) -> Streams:
    """Open so many streams, evenly over the ramp, and read each to its end."""
    client, prepared = _client(url, count)
    body = _body(model, stream=True)
    gaps: list[float] = []
    complete = 0

    async def one(index: int) -> None:
        nonlocal complete
        await asyncio.sleep(ramp_s * index / count)
        tail, last_s = b"", None
        try:
            reply = await client.request(prepared, (), body)
            try:
                async for piece in reply:
                    now_s = time.perf_counter()
                    if last_s is not None:
                        gaps.append((now_s - last_s) * 1e3)
                    last_s, tail = now_s, (tail + piece)[-64:]
            finally:
                await reply.aclose()
        except HttpFailure:
            return
        complete += reply.status == 200 and b"data: [DONE]" in tail

    try:
        await asyncio.gather(*(one(index) for index in range(count)))
    finally:
        await client.aclose()
    return Streams(complete, count - complete, tuple(sorted(gaps)))


async def paced(url: str, model: str, *, per_s: float, seconds: float) -> tuple[float, float]:
    """Latency of requests that arrive at a fixed pace, whether or not earlier ones have been answered.

    Returns:
        p50 and p99 in milliseconds, from the moment a request was due.

    Raises:
        RuntimeError: A request was not answered with status 200.
    """
    client, prepared = _client(url, 256)
    body = _body(model, stream=False)
    took_ms: list[float] = []

    async def one(due_s: float) -> None:
        reply = await client.request(prepared, (), body)
        await reply.read()
        await reply.aclose()
        if reply.status != 200:
            raise RuntimeError(f"{url} answered {reply.status}")
        took_ms.append((time.perf_counter() - due_s) * 1e3)

    began_s = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for index in range(round(per_s * seconds)):
                due_s = began_s + index / per_s
                if (wait_s := due_s - time.perf_counter()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(one(due_s))
    finally:
        await client.aclose()
    p50, p99 = np.percentile(took_ms, [50, 99])
    return float(p50), float(p99)
