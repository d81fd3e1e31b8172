"""The engine process of the embedded experts: one per host, identified by its socket, stopped with its owner."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import stat
import sys
import tempfile
from pathlib import Path

from pointsman.experts.child_process import ChildProcess

_log = logging.getLogger(__name__)

_START_WITHIN_S = 20.0
_STOP_WITHIN_S = 3.0
_POLL_S = 0.02


def default_socket() -> Path:
    """`embedded.sock` in the gateway's runtime folder (`POINTSMAN_RUNTIME_DIR`), else in a folder of this user."""
    given = os.environ.get("POINTSMAN_RUNTIME_DIR")
    if given:
        return Path(given) / "embedded.sock"
    return Path(tempfile.gettempdir()) / f"pointsman-embedded-{os.getuid()}" / "embedded.sock"


class EngineProcess:
    """A handle on the engine behind a socket, whichever process started it.

    Args:
        socket: Where it listens.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._process: ChildProcess | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id, None unless it was started through this handle and runs."""
        process = self._process
        return process.pid if process is not None and process.exit_code is None else None

    async def ensure(self) -> None:
        """Return once somebody serves the socket; start the engine when nobody does.

        Raises:
            OSError: It does not come up.
        """
        # First of all: in a folder that others may write, whoever serves the socket may be anybody.
        self._make_folder()
        if await self._serves():
            return
        if self._closed:
            raise ConnectionError("closed")
        give_up = asyncio.get_running_loop().time() + _START_WITHIN_S
        with (self.socket.parent / f"{self.socket.name}.lock").open("w") as lock:
            # One of several workers starts it; the others see the socket come alive, or find the lock free again.
            while not await self._serves():
                if asyncio.get_running_loop().time() > give_up:
                    raise TimeoutError(f"nobody serves {self.socket} after {_START_WITHIN_S:g} s")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_POLL_S)
                    continue
                if not await self._serves():
                    await self._start(give_up)

    async def aclose(self) -> None:
        """End the process if this handle started it. Idempotent."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.stop, _STOP_WITHIN_S)

    async def _start(self, give_up: float) -> None:
        began = asyncio.get_running_loop().time()
        # From this thread on purpose: the kernel ends the child when the thread that made it ends.
        process = self._process = ChildProcess(
            [
                *(sys.executable, "-m", "pointsman.experts.embedded"),
                *("--socket", str(self.socket), "--parent", str(os.getpid())),
            ]
        )
        while not await self._serves():
            if process.exit_code is not None:
                raise ChildProcessError(f"the engine ended at once with exit code {process.exit_code}")
            if asyncio.get_running_loop().time() > give_up:
                await asyncio.to_thread(process.stop, _STOP_WITHIN_S)
                raise TimeoutError(f"no answer within {_START_WITHIN_S:g} s")
            await asyncio.sleep(_POLL_S)
        took_ms = (asyncio.get_running_loop().time() - began) * 1e3
        _log.info("embedded engine ready after %.0f ms (pid %d)", took_ms, process.pid)

    async def _serves(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        writer.close()
        return True

    def _make_folder(self) -> None:
        folder = self.socket.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{folder} may be written by others: chmod 700")
