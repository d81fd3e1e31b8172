"""Several workers of one command: one engine, added-up metrics, and answers while a worker is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
CHAT = {"model": "nano-general", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    log = tmp_path_factory.mktemp("workers") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--port", "0", "--workers", "2"],
            stdout=output, stderr=output, cwd=ROOT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while (found := re.search(r" at (http://\S+)", log.read_text("utf-8"))) is None:
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.05)
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(30)


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


async def test_workers_share_one_engine_that_outlives_them(served: tuple[str, int]) -> None:
    url, pid = served
    engines = children(pid, "experts.embedded")
    assert len(engines) == 1
    assert await asyncio.gather(*(ask(url) for _ in range(8))) == [200] * 8
    workers = children(pid, "gateway.worker")
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    # The other worker serves on; the killed one's own connections are gone with it, so each ask opens a new one.
    assert [await ask(url) for _ in range(5)] == [200] * 5
    async with asyncio.timeout(30):
        while len(set(children(pid, "gateway.worker")) - {workers[0]}) < 2:
            await asyncio.sleep(0.1)
    assert children(pid, "experts.embedded") == engines
    assert await ask(url) == 200


async def test_metrics_of_all_workers_are_added_up(served: tuple[str, int]) -> None:
    url, _ = served

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
