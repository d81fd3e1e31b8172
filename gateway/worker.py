"""A worker process: `python -m gateway.worker`, started by the supervisor and by nobody else.

It inherits the listening socket and one end of a socket pair. Down the pair come its settings and orders; up go its
answers and, once a second from the moment it serves, a sign of life. When the pair closes, the supervisor is gone and
the worker stops. What they say is described in `gateway/worker_handle.py`.
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

from gateway.reload import ReloadRefused, Report
from gateway.server import log_config, serve_here
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.server import Server

#: Seconds between two signs of life.
HEARTBEAT_S: Final = 1.0
#: Settings of many experts are long.
_LONGEST_LINE: Final = 1 << 26

_log = logging.getLogger(__name__)


class _Attendant:
    """Gives signs of life and carries out orders, from the moment the worker serves."""

    def __init__(self, control: socket.socket, report: dict[str, Any] | None) -> None:
        self._control = control
        self._report = report
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wishes: list[asyncio.Future[Report]] = []

    def begin(self, server: Server) -> None:
        """The worker serves."""
        server.serving.configuration.changed_by(self._wish)
        if self._report is not None:
            server.serving.told(Report.from_dict(self._report), count=False)
        self._task(self._attend(server))

    def _task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, server: Server) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control, limit=_LONGEST_LINE)
        self._task(self._beat())
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self._obey(server, json.loads(line))
        _log.warning("the supervisor is gone; stopping")
        server.stop()

    async def _beat(self) -> None:
        while True:
            self._say(b"")
            await asyncio.sleep(HEARTBEAT_S)

    def _say(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line + b"\n")

    async def _wish(self, wish: str) -> Report:
        """Have the supervisor change the settings; the next report is the answer."""
        report = asyncio.get_running_loop().create_future()
        self._wishes.append(report)
        self._say(json.dumps({"wish": wish}).encode())
        found: Report = await report
        return found

    def _obey(self, server: Server, message: dict[str, Any]) -> None:
        match message["order"]:
            case "retire":
                self._task(server.retire())
            case "told":
                self._told(server, Report.from_dict(message["report"]), count=message["count"])
            case _:
                self._task(self._change(server, message))

    def _told(self, server: Server, report: Report, *, count: bool) -> None:
        server.serving.told(report, count=count)
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            if not wish.done():
                wish.set_result(report)

    async def _change(self, server: Server, message: dict[str, Any]) -> None:
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
            refusal = Report(refused.outcome, version, "", refused.why).to_dict()
        self._say(json.dumps({"order": order, "version": version, "refusal": refusal}).encode())


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
    parser = argparse.ArgumentParser(prog="gateway.worker", description=__doc__)
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
        on_ready=_Attendant(control, message["report"]).begin,
    )


if __name__ == "__main__":
    sys.exit(main())
