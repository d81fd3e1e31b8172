"""A worker as its supervisor sees it: a process, its signs of life, and the orders it takes.

Both sides write lines of JSON. The supervisor sends the settings, and later the orders `prepare`, `switch`, `drop`,
`retire` and `report`. The worker sends an answer to each of the first three, commands to change the settings, and an
empty line every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.version import ReloadOutcome, ReloadRefused, ReloadReport

_log = logging.getLogger(__name__)

#: An answer may hold a long reason.
_LONGEST_LINE: Final = 1 << 20


class WorkerHandle:
    """One worker process. A place where settings serve (`pointsman.gateway.process.reload.ReloadTarget`).

    Args:
        index: Its place among the workers.
        process: Started.
        reader: From it.
        writer: To it.
        silence_s: Seconds without a sign of life after which it is killed.
        on_command: Called when it asks for other settings (`reload`, `rollback`).

    Attributes:
        index: As given.
        retired: Whether another one has its place.
        up: Done when it serves, or will not any more: with which of the two.
    """

    def __init__(
        self,
        index: int,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        silence_s: float,
        on_command: Callable[[str], None],
    ) -> None:
        self.index = index
        self.retired = False
        self.up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._process = process
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s
        self._on_command = on_command
        self._answers: dict[tuple[str, int], asyncio.Future[ReloadReport | None]] = {}
        self._listening = asyncio.create_task(self._listen(), name=f"worker {index}")
        self._ended = asyncio.create_task(self._end(), name=f"end of worker {index}")

    @classmethod
    async def start(
        cls,
        index: int,
        settings: Settings,
        report: ReloadReport | None,
        listener: socket.socket,
        *,
        log_level: str,
        silence_s: float,
        on_command: Callable[[str], None],
    ) -> WorkerHandle:
        """Start a process and hand it what it serves.

        Args:
            index: Its place among the workers.
            settings: To serve.
            report: The latest on a change of the settings, if there was any.
            listener: Bound socket.
            log_level: Of the worker.
            silence_s: As above.
            on_command: As above.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "pointsman.gateway.process.worker", "--listen-fd", str(fds[0]), "--control-fd", str(fds[1])),
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
                # A group of its own: Ctrl-C reaches the supervisor alone, which then stops workers in good order.
                start_new_session=True,
                env=os.environ.copy(),
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        handle = cls(index, process, reader, writer, silence_s=silence_s, on_command=on_command)
        handle._write(
            {
                "index": index,
                "log_level": log_level,
                "settings": settings.model_dump(mode="json"),
                "report": None if report is None else report.to_dict(),
            }
        )
        return handle

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def serves(self) -> bool:
        """Whether it takes requests and is not about to stop."""
        return self.up.done() and self.up.result() and not self.retired and self._process.returncode is None

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.shield(self._ended)

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal, if there is still somebody to get it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)

    def retire(self) -> None:
        """Have it take leave of its clients and end: another one has its place."""
        self.retired = True
        self._write({"order": "retire"})

    def publish(self, report: ReloadReport, *, count: bool) -> None:
        """Let it know what became of a command to change the settings."""
        self._write({"order": "report", "report": report.to_dict(), "count": count})

    async def prepare(self, version: int, settings: Settings) -> None:
        """As `ReloadTarget`."""
        refusal = await self._command("prepare", version, settings=settings.model_dump(mode="json"))
        if refusal is not None:
            raise ReloadRefused(refusal.outcome, refusal.why)

    async def switch(self, version: int) -> None:
        """As `ReloadTarget`. One that dies instead is started again with the new settings anyway."""
        await self._command("switch", version)

    async def drop(self, version: int) -> None:
        """As `ReloadTarget`."""
        await self._command("drop", version)

    async def _command(self, order: str, version: int, **more: Any) -> ReloadReport | None:
        """Give an order and wait for its answer: None, or why not."""
        if self._process.returncode is not None:
            return self._died(version)
        answer: asyncio.Future[ReloadReport | None] = asyncio.get_running_loop().create_future()
        self._answers[order, version] = answer
        self._write({"order": order, "version": version, **more})
        return await answer

    def _write(self, message: dict[str, Any]) -> None:
        # A worker that has gone hears nothing more, and its exit code tells the rest.
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _died(self, version: int) -> ReloadReport:
        return ReloadReport(ReloadOutcome.FAILED, version, "", f"worker {self.index} died")

    async def _end(self) -> int:
        code = await self._process.wait()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._writer.close()
        if not self.up.done():
            self.up.set_result(False)
        for (_, version), answer in self._answers.items():
            if not answer.done():
                answer.set_result(self._died(version))
        self._answers.clear()
        return code

    async def _listen(self) -> None:
        """Until it is gone. One that falls silent is killed."""
        try:
            # No limit on the first: a start may take its time.
            line = await self._reader.readline()
            while line:
                if not self.up.done():
                    self.up.set_result(True)
                if line != b"\n":
                    self._on_message(json.loads(line))
                async with asyncio.timeout(self._silence_s):
                    line = await self._reader.readline()
        except TimeoutError:
            _log.error("worker %d gives no sign of life for %g s and is killed", self.index, self._silence_s)
            self.send_signal(signal.SIGKILL)
        except OSError:
            return  # it died; its exit code tells more

    def _on_message(self, message: dict[str, Any]) -> None:
        if "command" in message:
            self._on_command(message["command"])
            return
        answer = self._answers.pop((message["order"], message["version"]), None)
        if answer is not None and not answer.done():
            refusal = message["refusal"]
            answer.set_result(None if refusal is None else ReloadReport.from_dict(refusal))
