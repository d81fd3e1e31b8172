"""Starting real vLLM servers on this machine's CPU, and asking them without any code of ours in between."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
#: Alone on two free cores a server is ready in 15 to 25 seconds; a busy machine may take several times as long.
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 15


@dataclass(frozen=True)
class Answer:
    """An HTTP response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """Something that listens on loopback."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/v1"

    def log_tail(self, lines: int = 60) -> str:
        """The latest lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 120) -> Answer:
        """One request on a connection of its own, with the standard library."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {} if body is None else {"content-type": "application/json"},
            )
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """A Prometheus metric of it, summed over its labels."""
        text = self.ask("GET", "/metrics").body.decode()
        values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert values, f"{self.name} has no metric {name}"
        return sum(map(float, values))


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def vllm_env() -> Path:
    """The environment that `make vllm-env` has made, whether it is there or not."""
    return Path(os.environ.get("POINTSMAN_VLLM_ENV", ROOT / ".venv-vllm")).resolve()


@contextmanager
def running(
    name: str, command: list[str], port: int, logs: Path, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """A process in a group of its own, and the end of the whole group."""
    log = logs / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield Server(name, port, process, log)
    finally:
        _end(process)


def vllm_serving(name: str, checkpoint: Path, logs: Path) -> Any:
    """A vLLM server on a checkpoint, as a context manager; started, not yet ready."""
    port = free_port()
    command = [str(ROOT / "deploy/vllm-cpu/serve.sh"), str(checkpoint), str(port), name]
    return running(name, command, port, logs, {"POINTSMAN_VLLM_ENV": str(vllm_env())})


def wait_until_ready(servers: list[Server], path: str = "/health", timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait until every server answers 200.

    Raises:
        AssertionError: One has ended, or time is up; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    for server in servers:
        while True:
            code = server.process.poll()
            assert code is None, f"{server.name} ended with {code}:\n{server.log_tail()}"
            with suppress(OSError, http.client.HTTPException):
                if server.ask("GET", path, timeout_s=5).status == 200:
                    break
            assert time.monotonic() < deadline, f"{server.name} is not ready after {timeout_s} s:\n{server.log_tail()}"
            time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            break
    # What the group's leader has left behind, if anything.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
