"""Memory stays where it is, whatever passes through: new prompts, known ones, streams, and clients that leave.

The bench's soak is the long form of it (two million requests and a hundred thousand streams: docs/results/speed.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from pointsman.evals.bench.processes import Process, free_port, serving
from pointsman.experts.http1.client import ConnectionLimits, HttpClient
from pointsman.experts.http1.origin import Origin

_ROUND = 4_000
_AT_ONCE = 32
#: Pages that the allocator keeps and statistics that fill up; a leak of a kilobyte a request would be twice as much.
_SLACK_MB = 3.0


async def _pass_through(client: HttpClient, first: int) -> None:
    """A round of requests: a third with new prompts, a third repeated, a third streamed, some of them left."""
    prepared = client.prepare("POST", "/v1/chat/completions", ((b"content-type", b"application/json"),))
    numbers = iter(range(first, first + _ROUND))

    async def some() -> None:
        for number in numbers:
            prompt = f"{number}: what is the derivative of x squared?" if number % 3 == 0 else "hello there"
            payload = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "stream": number % 3 == 1}
            reply = await client.request(prepared, (), json.dumps(payload).encode())
            assert reply.status == 200
            if number % 50 != 1:
                await reply.read()
            await reply.aclose()

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def _resident_mb(gateway: Process) -> float:
    await asyncio.sleep(1.5)  # what was counted meanwhile is flushed once a second
    return gateway.resident_mb()


@pytest.mark.slow
@pytest.mark.parametrize("redis", [False, True], ids=["alone", "with redis"])
async def test_memory_does_not_grow_with_requests(tmp_path: Path, redis: bool) -> None:
    ports = [free_port(), free_port()]
    expert = {"name": "only", "backend": "openai_http", "model": "fake", "base_url": f"http://127.0.0.1:{ports[0]}"}
    tree = {
        "pool": {"experts": [{**expert, "max_concurrency": 256}]},
        # So small that they are full before the first measurement.
        "cache": {"decisions": {"local_entries": 500}},
        "ledger": {"local_entries": 500},
        "redis": {"embedded": redis},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    fake = [sys.executable, "-m", "pointsman.experts.backends.fake", "--port", str(ports[0])]
    ours = [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--config", str(tmp_path / "settings.yaml")]
    async with (
        serving(fake, ports[0], ready_path="/health", cores=_cores(), log=tmp_path / "fake.log"),
        serving(
            [*ours, "--port", str(ports[1])], ports[1], ready_path="/ready", cores=_cores(), log=tmp_path / "log"
        ) as gateway,
    ):
        client = HttpClient(
            Origin.parse(gateway.url), limits=ConnectionLimits(max_connections=_AT_ONCE, max_queued=_AT_ONCE)
        )
        try:
            await _pass_through(client, 0)
            await _pass_through(client, _ROUND)
            before_mb = await _resident_mb(gateway)
            await _pass_through(client, 2 * _ROUND)
            await _pass_through(client, 3 * _ROUND)
            after_mb = await _resident_mb(gateway)
        finally:
            await client.aclose()
    assert after_mb < 150, "a worker's memory"
    assert after_mb - before_mb < _SLACK_MB


def _cores() -> set[int]:
    return os.sched_getaffinity(0)
