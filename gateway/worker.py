"""A worker process: `python -m gateway.worker`, started by the supervisor and by nobody else.

It inherits the listening socket and one end of a socket pair. Down the pair come its settings; up go its signs of life,
one a second from the moment it serves. When the pair closes, the supervisor is gone and the worker stops.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from gateway.server import log_config, serve_here
from gateway.settings import Settings

#: Seconds between two signs of life.
HEARTBEAT_S: Final = 1.0

_log = logging.getLogger(__name__)


def _receive(control: socket.socket) -> dict[str, Any]:
    """The supervisor's one message: a line of JSON."""
    with control.makefile("rb") as stream:
        line = stream.readline()
    if not line.endswith(b"\n"):
        raise SystemExit("the supervisor is gone")
    message: dict[str, Any] = json.loads(line)
    return message


def _attend(control: socket.socket, stop: Callable[[], None]) -> None:
    """Give signs of life, and stop when the supervisor is gone."""
    loop = asyncio.get_running_loop()
    control.setblocking(False)

    def beat() -> None:
        # A full pipe means that the supervisor is slow, which is not ours to mend; a closed one is seen by `gone`.
        with contextlib.suppress(OSError):
            control.send(b".")
        loop.call_later(HEARTBEAT_S, beat)

    def gone() -> None:
        # The supervisor writes nothing after the settings: readable means closed.
        loop.remove_reader(control)
        _log.warning("the supervisor is gone; stopping")
        stop()

    loop.add_reader(control, gone)
    beat()


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="gateway.worker", description=__doc__)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    arguments = parser.parse_args()
    control = socket.socket(fileno=arguments.control_fd)
    listener = socket.socket(fileno=arguments.listen_fd)
    message = _receive(control)
    settings = Settings.model_validate_json(json.dumps(message["settings"]), strict=True)
    logging.captureWarnings(capture=True)
    return serve_here(
        settings,
        listener,
        logging_config=log_config(message["log_level"], prefix=f"[worker {message['index']}] "),
        on_ready=lambda stop: _attend(control, stop),
    )


if __name__ == "__main__":
    sys.exit(main())
