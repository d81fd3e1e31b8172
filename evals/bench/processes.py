"""The processes under measurement: each on cores of its own, ready before it is measured, gone after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp


@dataclass(frozen=True, slots=True)
class Process:
    """A running server.

    Attributes:
        url: Where it answers.
        pid: Its process id.
        ready_s: Seconds from its start to its first good answer.
    """

    url: str
    pid: int
    ready_s: float

    def resident_mb(self) -> float:
        """Resident memory of the process itself in MB (10^6 bytes); children, such as a Redis, are not in it."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / 1e6


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def serving(
    command: Sequence[str], port: int, *, ready_path: str, cores: Collection[int], log: Path, limit_s: float = 30.0
) -> AsyncIterator[Process]:
    """Run a server until the block ends.

    Args:
        command: What to run.
        port: Where it will listen.
        ready_path: GET of it answers 200 once the server is ready.
        cores: Processor cores it may use.
        log: File for what it prints.
        limit_s: Seconds it has to become ready.

    Raises:
        RuntimeError: It ended, or was not ready in time; the message has the end of its log.
    """
    began_s = time.perf_counter()
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, start_new_session=True, preexec_fn=lambda: _pin(cores)
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_ready(url + ready_path, child, log, limit_s)
        yield Process(url, child.pid, time.perf_counter() - began_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(10):
                await child.wait()
        except TimeoutError:
            os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


def _pin(cores: Collection[int]) -> None:
    os.sched_setaffinity(0, cores)


async def _until_ready(url: str, child: asyncio.subprocess.Process, log: Path, limit_s: float) -> None:
    deadline_s = time.perf_counter() + limit_s
    async with aiohttp.ClientSession() as http:
        while time.perf_counter() < deadline_s:
            if child.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.01)
    tail = log.read_text("utf-8", "replace")[-2000:]
    raise RuntimeError(f"{url} did not become ready:\n{tail}")
