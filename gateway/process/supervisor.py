"""The parent of several workers: it owns the listening socket, and starts, replaces, reloads and stops the workers.

The socket is shared, not bound once per worker (SO_REUSEPORT). Connections in the queue of a worker that ends would be
lost with that worker; from a shared queue another worker takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pointsman.experts.child_process import Backoff
from pointsman.gateway.process.engine import Engines
from pointsman.gateway.process.reload import Reloader, ReloadTarget
from pointsman.gateway.process.worker_handle import WorkerHandle
from pointsman.gateway.settings.version import ReloadReport

if TYPE_CHECKING:
    from pointsman.gateway.settings import Settings

_log = logging.getLogger(__name__)

#: A worker that gives no sign of life for so long hangs. It gives one a second.
_SILENCE_S: Final = 30.0
#: Beyond the graceful time, for the app's own shutdown.
_GRACE_S: Final = 5.0
#: A worker that does not serve after so long will not.
_START_S: Final = 60.0


class Supervisor:
    """Keeps a number of workers running until it is told to stop.

    SIGHUP reloads the settings, SIGUSR1 goes back to those before, SIGUSR2 replaces the workers one by one.

    Args:
        settings: Handed to every worker.
        listener: Bound socket; closed when the stop begins, so that new connections are refused rather than kept.
        read: Reads the settings again; raises SettingsError.
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
        read: Callable[[], Settings],
        log_level: str,
        metrics_dir: Path,
        on_ready: Callable[[], None],
        silence_s: float = _SILENCE_S,
    ) -> None:
        self._listener = listener
        self._log_level = log_level
        self._metrics_dir = metrics_dir
        self._on_ready = on_ready
        self._silence_s = silence_s
        self._workers: set[WorkerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._engines = Engines()
        self._announced = False
        self._status = 0
        self._stop = asyncio.Event()
        self._signals = 0
        # While settings change or workers are replaced, none is started beside.
        self._changing = asyncio.Lock()
        self._reloader = Reloader(settings, read, self._targets, self._publish, self._changing)

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit status: 0 after a shutdown that was asked for, a worker's own when none could be started.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_stop)
        for signum, command in ((signal.SIGHUP, "reload"), (signal.SIGUSR1, "rollback"), (signal.SIGUSR2, "replace")):
            loop.add_signal_handler(signum, self._on_command, command)
        await self._engines.hold(self._settings)
        for index in range(self._settings.server.workers):
            self._begin(self._keep(index))
        await self._stop.wait()
        self._listener.close()
        self._send(signal.SIGTERM)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.server.graceful_shutdown_s + _GRACE_S)
            if late:
                _log.error("%d worker(s) did not stop in time and are killed", len(self._workers))
                self._send(signal.SIGKILL)
            await asyncio.gather(*self._tasks)
        await self._engines.aclose()
        return self._status

    @property
    def _settings(self) -> Settings:
        return self._reloader.settings

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_stop(self) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            self._send(signal.SIGKILL)

    def _send(self, signum: signal.Signals) -> None:
        for worker in self._workers:
            worker.send_signal(signum)

    # Keeping workers.

    async def _keep(self, index: int, worker: WorkerHandle | None = None) -> None:
        """Keep a worker running under one index: start another when it ends, unless it was replaced."""
        backoff = Backoff(first_s=0.25, longest_s=10.0, settled_s=30.0)
        while not self._stop.is_set():
            since = time.monotonic()
            if worker is None:
                async with self._changing:
                    if self._stop.is_set():
                        return
                    worker = await self._start(index)
            served = await worker.up
            if served:
                self._announce()
            code = await self._ended(worker)
            if self._stop.is_set() or worker.retired:
                return
            if not self._announced and not served:
                # It never worked: starting it again would only repeat the error that it has just logged.
                _log.error("worker %d could not start (exit code %d)", index, code)
                self._status = code if code > 0 else 1
                self._stop.set()
                return
            worker = None
            wait_s = backoff.after(time.monotonic() - since)
            _log.error("worker %d died (exit code %d); starting it again in %.2g s", index, code, wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)

    async def _start(self, index: int) -> WorkerHandle:
        worker = await WorkerHandle.start(
            index,
            self._settings,
            self._reloader.last,
            self._listener,
            log_level=self._log_level,
            silence_s=self._silence_s,
            on_command=self._on_command,
        )
        self._workers.add(worker)
        if self._stop.is_set():
            worker.send_signal(signal.SIGTERM)
        return worker

    async def _ended(self, worker: WorkerHandle) -> int:
        """The exit code of a worker, once it has ended and is forgotten."""
        code = await worker.wait()
        self._workers.discard(worker)
        # Live gauges of a worker that is gone no longer count.
        for file in self._metrics_dir.glob(f"gauge_live*_{worker.pid}.db"):
            file.unlink(missing_ok=True)
        return code

    def _announce(self) -> None:
        if not self._announced and len(self._serving()) == self._settings.server.workers:
            self._announced = True
            self._on_ready()

    # Changing them.

    def _on_command(self, command: str) -> None:
        match command:
            case "reload":
                self._begin(self._reload())
            case "rollback":
                self._begin(self._rollback())
            case "replace":
                self._begin(self._replace())

    async def _reload(self) -> None:
        await self._reloader.reload()

    async def _rollback(self) -> None:
        await self._reloader.rollback()

    async def _replace(self) -> None:
        """Replace the workers one by one: the new one serves before the old one drains."""
        async with self._changing:
            await self._all_up()
            for old in self._serving():
                if self._stop.is_set():
                    return
                new = await self._start(old.index)
                if not await self._is_up(new):
                    new.send_signal(signal.SIGKILL)
                    code = await self._ended(new)
                    _log.error("worker %d stays: the one to replace it ended (exit code %d)", old.index, code)
                    return
                self._begin(self._keep(old.index, new))
                old.retire()
                _log.info("worker %d is replaced (process %d by %d)", old.index, old.pid, new.pid)

    def _serving(self) -> Sequence[WorkerHandle]:
        return sorted((worker for worker in self._workers if worker.serves), key=lambda worker: worker.index)

    async def _is_up(self, worker: WorkerHandle) -> bool:
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((worker.up, stopped), timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return worker.serves

    async def _all_up(self) -> None:
        """Wait for those that are about to serve."""
        if starting := [worker.up for worker in self._workers if not worker.up.done()]:
            await asyncio.wait(starting, timeout=_START_S)

    async def _targets(self, settings: Settings) -> Sequence[ReloadTarget]:
        await self._engines.hold(settings)
        await self._all_up()
        return self._serving()

    def _publish(self, report: ReloadReport) -> None:
        for nth, worker in enumerate(self._serving()):
            worker.publish(report, count=nth == 0)
