"""The parent of several workers: one listening socket, workers that are started again, and a stop that drains.

The socket is shared rather than bound once per worker (SO_REUSEPORT), because connections that wait in the queue of a
worker that dies would die with it; from a shared queue another worker takes them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from experts.backends.embedded_engine import EngineProcess, default_socket
from gateway.settings import Backend

if TYPE_CHECKING:
    from gateway.settings import Settings

_log = logging.getLogger(__name__)

_FIRST_BACKOFF_S: Final = 0.25
_LONGEST_BACKOFF_S: Final = 10.0
_SETTLED_S: Final = 30.0
#: A worker that gives no sign of life for so long hangs. It gives one a second.
_SILENCE_S: Final = 30.0
#: Beyond the graceful time, for the app's own shutdown.
_GRACE_S: Final = 5.0


class Supervisor:
    """Keeps a number of workers running until it is told to stop.

    Args:
        settings: Handed to every worker.
        listener: Bound socket; closed when the stop begins, so that new connections are refused rather than kept.
        log_level: Of the workers.
        metrics_dir: Folder of the workers' shared counters.
        on_ready: Called once all workers accept requests for the first time.
        silence_s: Seconds without a sign of life after which a worker is killed and replaced.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        *,
        log_level: str,
        metrics_dir: Path,
        on_ready: Callable[[], None],
        silence_s: float = _SILENCE_S,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._log_level = log_level
        self._metrics_dir = metrics_dir
        self._on_ready = on_ready
        self._silence_s = silence_s
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._announced = False
        self._status = 0
        self._stop = asyncio.Event()
        self._signals = 0

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit status: 0 after a shutdown that was asked for, a worker's own when none could be started.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal)
        engine = await self._start_engine()
        keepers = [asyncio.create_task(self._keep(index)) for index in range(self._settings.server.workers)]
        await self._stop.wait()
        self._listener.close()
        self._send(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._settings.server.graceful_shutdown_s + _GRACE_S)
        if late:
            _log.error("%d worker(s) did not stop in time and are killed", len(late))
            self._send(signal.SIGKILL)
        await asyncio.gather(*keepers)
        if engine is not None:
            await engine.aclose()
        return self._status

    async def _start_engine(self) -> EngineProcess | None:
        """The engine of the embedded experts, held here so that it outlives any worker; None where nobody needs it."""
        if not any(expert.backend is Backend.EMBEDDED for expert in self._settings.pool.experts):
            return None
        engine = EngineProcess(default_socket())
        try:
            await engine.ensure()
        except OSError as error:
            # The workers try again themselves, and say so to whoever asks for an embedded expert.
            _log.error("the embedded engine does not start: %s", error)
        return engine

    def _on_signal(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            self._send(signal.SIGKILL)

    def _send(self, signum: signal.Signals) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signum)

    async def _keep(self, index: int) -> None:
        """Run one worker after another in one place."""
        backoff_s = _FIRST_BACKOFF_S
        while not self._stop.is_set():
            since = time.monotonic()
            code = await self._run_worker(index)
            if self._stop.is_set():
                return
            if not self._announced and index not in self._ready:
                # It never worked: starting it again would only repeat the error that it has just logged.
                _log.error("worker %d could not start (exit code %d)", index, code)
                self._status = code if code > 0 else 1
                self._stop.set()
                return
            if time.monotonic() - since > _SETTLED_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.error("worker %d died (exit code %d); starting it again in %.2g s", index, code, backoff_s)
            try:
                await asyncio.wait_for(self._stop.wait(), backoff_s)
            except TimeoutError:
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _run_worker(self, index: int) -> int:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                fds = (self._listener.fileno(), theirs.fileno())
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "gateway.worker", "--listen-fd", str(fds[0]), "--control-fd", str(fds[1])),
                    pass_fds=fds,
                    stdin=asyncio.subprocess.DEVNULL,
                    # A group of its own: Ctrl-C reaches the supervisor alone, which then stops workers in good order.
                    start_new_session=True,
                    env=os.environ.copy(),
                )
            self._processes[index] = process
            if self._stop.is_set():
                process.terminate()
            ours.setblocking(False)
            listening = asyncio.create_task(self._converse(index, process, ours))
            try:
                code = await process.wait()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        self._forget_gauges(process.pid)
        return code

    async def _converse(self, index: int, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        """Hand over the settings, then listen for signs of life; a worker that falls silent is killed."""
        loop = asyncio.get_running_loop()
        message = {"index": index, "log_level": self._log_level, "settings": self._settings.model_dump(mode="json")}
        try:
            await loop.sock_sendall(control, json.dumps(message).encode() + b"\n")
            # No limit on the first: a start may take its time.
            if not await loop.sock_recv(control, 1):
                return
            self._serves(index)
            while True:
                async with asyncio.timeout(self._silence_s):
                    if not await loop.sock_recv(control, 1024):
                        return
        except TimeoutError:
            _log.error("worker %d gives no sign of life for %g s and is killed", index, self._silence_s)
            process.kill()
        except OSError:
            return  # the worker died; its exit code tells more

    def _serves(self, index: int) -> None:
        self._ready.add(index)
        if not self._announced and len(self._ready) == self._settings.server.workers:
            self._announced = True
            self._on_ready()

    def _forget_gauges(self, pid: int) -> None:
        """Live gauges of a worker that is gone no longer count."""
        for file in self._metrics_dir.glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)
