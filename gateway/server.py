"""One serving process: a bound socket, the app, and uvicorn tuned for a proxy."""

from __future__ import annotations

import gc
import logging
import logging.config
import math
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

if TYPE_CHECKING:
    from gateway.app import App
    from gateway.settings import Settings

_log = logging.getLogger(__name__)

_BACKLOG: Final = 2048
#: Longer than the idle time of the usual load balancers, so that they close first and never send into a closed one.
_KEEP_ALIVE_S: Final = 75

#: uvicorn's exit status for an app that does not start.
STARTUP_FAILED: Final = 3


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: Name or address.
        port: 0 picks a free one.

    Raises:
        OSError: The address cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:8080` of a bound socket; a wildcard address is shown as loopback, where one can reach it."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready(self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def log_config(level: str, prefix: str = "") -> dict[str, Any]:
    """Logging of a serving process: one line per record on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": f"%(asctime)s %(levelname)s {prefix}%(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        # Its start and stop lines say what the banner already says.
        "loggers": {"uvicorn": {"level": "INFO" if level == "debug" else "WARNING"}},
    }


def serve_here(
    settings: Settings,
    listener: socket.socket,
    *,
    logging_config: dict[str, Any],
    on_ready: Callable[[Callable[[], None]], None],
) -> int:
    """Serve in this process until SIGTERM or SIGINT; requests in flight may end.

    Args:
        settings: What to serve.
        listener: Bound socket; closed at the end.
        logging_config: For `logging.config.dictConfig`.
        on_ready: Called on the event loop once requests are accepted, with what asks for a shutdown.

    Returns:
        The exit status: 0 after a shutdown that was asked for.
    """
    logging.config.dictConfig(logging_config)
    stopping = _Stopping()
    # uvicorn raises the signal that ended it once more when it is done. These handlers receive it: a shutdown that was
    # asked for is a success. Before uvicorn listens, they simply end the process.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stopping.on_signal)
    # What the composition root needs is loaded by the processes that serve, not by a supervisor.
    from experts.errors import ExpertMisconfigured
    from gateway.app import create_app
    from gateway.settings import SettingsError
    from routers.errors import RouterError

    try:
        app = create_app(settings)
    except (SettingsError, RouterError, ExpertMisconfigured) as error:
        # The operator's to mend: a sentence says more than a traceback.
        _log.error("cannot start: %s", error)
        return STARTUP_FAILED
    _spare_collector()
    server = _Server(uvicorn_config(app, settings.server.graceful_shutdown_s), on_ready)
    stopping.server = server
    try:
        server.run(sockets=[listener])
    except SystemExit as ended:
        # uvicorn leaves this way when the app's start fails; it has logged why.
        return ended.code if isinstance(ended.code, int) else STARTUP_FAILED
    return 0 if server.started else STARTUP_FAILED


def uvicorn_config(app: App, graceful_shutdown_s: float) -> uvicorn.Config:
    """The server's settings for this gateway."""
    from gateway.http_protocol import FastLaneProtocol

    return uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(FastLaneProtocol, lane=app.lane, patience_s=app.runtime.settings.server.request_timeout_s),  # type: ignore[arg-type]  # it is called as a class would be
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(graceful_shutdown_s),
        log_config=None,
    )


def _spare_collector() -> None:
    """Let the garbage collector pass over what lives as long as the process, and come less often.

    Requests leave almost no cycles behind, while a full collection walks settings, router and ledger and stalls every
    stream meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Stopping:
    """Receives signals around uvicorn's own handling of them."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.server is None:
            raise SystemExit(0)
        self.server.should_exit = True
