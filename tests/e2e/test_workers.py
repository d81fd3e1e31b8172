"""Several workers of one command: one engine, added-up metrics, and answers while a worker is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.served import served

CHAT = {"model": "nano-general", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served(tmp_path_factory.mktemp("workers"), "--workers", "2") as url_and_pid:
        yield url_and_pid


def children(pid: int, part: str) -> list[int]:
    """Child processes of a process whose command holds a word."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split():
        command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if part in command:
            found.append(int(child))
    return found


async def ask(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=CHAT) as reply:
        await reply.read()
        return reply.status


async def test_workers_share_one_engine_that_outlives_them(gateway: tuple[str, int]) -> None:
    url, pid = gateway
    engines = children(pid, "pointsman.experts.embedded")
    assert len(engines) == 1
    assert await asyncio.gather(*(ask(url) for _ in range(8))) == [200] * 8
    workers = children(pid, "pointsman.gateway.process.worker")
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    # The other worker serves on; the killed one's own connections are gone with it, so each ask opens a new one.
    assert [await ask(url) for _ in range(5)] == [200] * 5
    async with asyncio.timeout(30):
        while len(set(children(pid, "pointsman.gateway.process.worker")) - {workers[0]}) < 2:
            await asyncio.sleep(0.1)
    assert children(pid, "pointsman.experts.embedded") == engines
    assert await ask(url) == 200


async def test_metrics_of_all_workers_are_added_up(gateway: tuple[str, int]) -> None:
    url, _ = gateway

    async def counted() -> float:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as reply:
            text = await reply.text()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith('pointsman_requests_total{endpoint="chat/completions",expert="nano-general"')
        )

    before = await counted()
    assert await asyncio.gather(*(ask(url) for _ in range(10))) == [200] * 10
    assert {await counted() - before for _ in range(4)} == {10.0}
