"""Many streams at once: what a gateway adds to what the expert takes by itself."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import numpy as np

from pointsman.experts.http1.client import ConnectionLimits, HttpClient
from pointsman.experts.http1.failures import HttpFailure
from pointsman.experts.http1.origin import Origin

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


def _client(url: str, connections: int) -> tuple[HttpClient, bytes]:
    client = HttpClient(Origin.parse(url), limits=ConnectionLimits(max_connections=connections, max_queued=connections))
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
