"""A worker process: `python -m pointsman.gateway.process.worker`. Only the supervisor starts it.

It inherits the listening socket and one end of a socket pair. It receives its settings and orders over the pair. It
sends its answers and, once a second from the moment it serves, a sign of life. When the pair closes, the supervisor is
gone and the worker stops. `gateway/process/worker_handle.py` describes the messages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from pointsman.gateway.process.server import log_config, serve_here
from pointsman.gateway.settings import Settings
from pointsman.gateway.settings.version import ReloadRefused, ReloadReport

if TYPE_CHECKING:
    from pointsman.gateway.process.server import Server

#: Seconds between two signs of life.
HEARTBEAT_S: Final = 1.0
#: Settings of many experts are long.
_LONGEST_LINE: Final = 1 << 26

_log = logging.getLogger(__name__)


class _ControlChannel:
    """Gives signs of life and carries out orders, from the moment the worker serves."""

    def __init__(self, control: socket.socket, report: dict[str, Any] | None) -> None:
        self._control = control
        self._report = report
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._change_requests: list[asyncio.Future[ReloadReport]] = []

    def begin(self, server: Server) -> None:
        """The worker serves."""
        server.serving.configuration.set_change_handler(self._request_change)
        if self._report is not None:
            server.serving.apply_report(ReloadReport.from_dict(self._report), count=False)
        self._task(self._read_commands(server))

    def _task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_commands(self, server: Server) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control, limit=_LONGEST_LINE)
        self._task(self._send_heartbeats())
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self._handle(server, json.loads(line))
        _log.warning("the supervisor is gone; stopping")
        server.stop()

    async def _send_heartbeats(self) -> None:
        while True:
            self._write(b"")
            await asyncio.sleep(HEARTBEAT_S)

    def _write(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line + b"\n")

    async def _request_change(self, command: str) -> ReloadReport:
        """Have the supervisor change the settings; the next report is the answer."""
        report = asyncio.get_running_loop().create_future()
        self._change_requests.append(report)
        self._write(json.dumps({"command": command}).encode())
        found: ReloadReport = await report
        return found

    def _handle(self, server: Server, message: dict[str, Any]) -> None:
        match message["order"]:
            case "retire":
                self._task(server.retire())
            case "report":
                self._apply_report(server, ReloadReport.from_dict(message["report"]), count=message["count"])
            case _:
                self._task(self._run_command(server, message))

    def _apply_report(self, server: Server, report: ReloadReport, *, count: bool) -> None:
        server.serving.apply_report(report, count=count)
        waiting, self._change_requests = self._change_requests, []
        for request in waiting:
            if not request.done():
                request.set_result(report)

    async def _run_command(self, server: Server, message: dict[str, Any]) -> None:
        order, version = message["order"], message["version"]
        refusal = None
        try:
            match order:
                case "prepare":
                    await server.serving.prepare(version, _settings(message))
                case "switch":
                    await server.serving.switch(version)
                case "drop":
                    await server.serving.drop(version)
        except ReloadRefused as refused:
            refusal = ReloadReport(refused.outcome, version, "", refused.why).to_dict()
        self._write(json.dumps({"order": order, "version": version, "refusal": refusal}).encode())


def _receive(control: socket.socket) -> dict[str, Any]:
    """The supervisor's first message: a line of JSON. Nothing follows before the worker has given a sign of life."""
    with control.makefile("rb") as stream:
        line = stream.readline()
    if not line.endswith(b"\n"):
        raise SystemExit("the supervisor is gone")
    message: dict[str, Any] = json.loads(line)
    return message


def _settings(message: dict[str, Any]) -> Settings:
    return Settings.model_validate_json(json.dumps(message["settings"]), strict=True)


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="pointsman.gateway.process.worker", description=__doc__)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    arguments = parser.parse_args()
    control = socket.socket(fileno=arguments.control_fd)
    listener = socket.socket(fileno=arguments.listen_fd)
    message = _receive(control)
    logging.captureWarnings(capture=True)
    return serve_here(
        _settings(message),
        listener,
        logging_config=log_config(message["log_level"], prefix=f"[worker {message['index']}] "),
        on_ready=_ControlChannel(control, message["report"]).begin,
    )


if __name__ == "__main__":
    sys.exit(main())
