"""A worker process: `python -m gateway.worker`, started by the supervisor and by nobody else.

It inherits the listening socket and one end of a socket pair. On the pair it reads its settings, says `ready`, and
notices when the supervisor is gone.
"""

from __future__ import annotations

import argparse
import json
import logging
import socket
import sys
from typing import Any

from gateway.server import log_config, serve_here
from gateway.settings import Settings

#: First word a worker says.
READY = b"ready\n"


def _receive(control: socket.socket) -> dict[str, Any]:
    """The supervisor's one message: a line of JSON."""
    with control.makefile("rb") as stream:
        line = stream.readline()
    if not line.endswith(b"\n"):
        raise SystemExit("the supervisor is gone")
    message: dict[str, Any] = json.loads(line)
    return message


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
        on_ready=lambda: control.sendall(READY),
        stop_when_closed=control,
    )


if __name__ == "__main__":
    sys.exit(main())
