"""A closed-loop load generator on our own HTTP client, and what it saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from experts.http1.client import Client, Limits
from experts.http1.origin import Origin

_HEADERS = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests saw.

    Attributes:
        requests: Answered with status 200.
        failed: Answered otherwise, or not at all.
        seconds: Length of the run.
        latencies_ms: Of every answered request, sorted.
    """

    requests: int
    failed: int
    seconds: float
    latencies_ms: tuple[float, ...]

    @property
    def per_s(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latency; NaN when nothing was answered."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else float("nan")


async def drive(url: str, bodies: Callable[[], Iterator[bytes]], *, seconds: float, concurrency: int) -> Load:
    """Send chat completions, each connection one after the other, for some seconds.

    Args:
        url: Server, without path.
        bodies: Makes an endless iterator of request bodies.
        seconds: How long.
        concurrency: Connections.
    """
    client = Client(Origin.parse(url), limits=Limits(max_connections=concurrency))
    prepared = client.prepare("POST", "/v1/chat/completions", _HEADERS)
    latencies: list[float] = []
    failed = 0
    source = bodies()
    began_s = time.perf_counter()
    end_s = began_s + seconds

    async def connection() -> None:
        nonlocal failed
        while (sent_s := time.perf_counter()) < end_s:
            reply = await client.request(prepared, (), next(source))
            try:
                async for _ in reply:
                    pass
            finally:
                await reply.aclose()
            if reply.status == 200:
                latencies.append((time.perf_counter() - sent_s) * 1e3)
            else:
                failed += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(connection())
        elapsed_s = time.perf_counter() - began_s
    finally:
        await client.aclose()
    return Load(len(latencies), failed, elapsed_s, tuple(sorted(latencies)))
