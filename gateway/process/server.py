"""One serving process: a bound socket, the app, and uvicorn tuned for a proxy."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.config
import math
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from pointsman.gateway.process.open_files import raise_open_files_limit

if TYPE_CHECKING:
    from pointsman.gateway.process.serving import Serving
    from pointsman.gateway.settings import Settings
    from pointsman.gateway.settings.version import ReloadReport

_log = logging.getLogger(__name__)

_BACKLOG: Final = 2048
#: Longer than the idle time of the usual load balancers, so that they close first and never send into a closed one.
_KEEP_ALIVE_S: Final = 75

#: A connection that was idle for so long is closed at a shutdown: long enough for a request that is on its way.
_QUIET_S: Final = 0.5
#: The same after another process has taken over: clients that come back learn to open a new connection.
_QUIET_REPLACED_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.1

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


class Server(uvicorn.Server):
    """uvicorn's server, which says when it accepts requests, and drains its connections before it closes.

    Args:
        serving: What it serves.
        on_ready: Called on the event loop once requests are accepted.
    """

    def __init__(self, serving: Serving, on_ready: Callable[[Server], None]) -> None:
        super().__init__(uvicorn_config(serving))
        self.serving = serving
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._on_ready(self)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way, as far as the operator's patience goes."""
        self.serving.drain(_QUIET_S)
        self.config.timeout_graceful_shutdown = math.ceil(self.serving.settings.server.graceful_shutdown_s)
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Ask for a shutdown."""
        self.should_exit = True

    async def retire(self) -> None:
        """Another process serves: take no more connections, let those that are there end, however long it takes them.

        A shutdown that is asked for meanwhile has its own patience.
        """
        for server in self.servers:
            server.close()
        await self.serving.admin.stop()
        self.serving.drain(_QUIET_REPLACED_S)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.serving.settings.server.drain_s):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            _log.warning("requests are broken off: another process took over long ago")
        self.stop()


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
    on_ready: Callable[[Server], None],
) -> int:
    """Serve in this process until SIGTERM or SIGINT; requests in flight may end.

    Args:
        settings: What to serve.
        listener: Bound socket; closed at the end.
        logging_config: For `logging.config.dictConfig`.
        on_ready: Called on the event loop once requests are accepted.

    Returns:
        The exit status: 0 after a shutdown that was asked for.
    """
    logging.config.dictConfig(logging_config)
    raise_open_files_limit()
    stopping = _Stopping()
    # uvicorn raises the signal that ended it once more when it is done. These handlers receive it: a shutdown that was
    # asked for is a success. Before uvicorn listens, they simply end the process.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stopping.on_signal)
    # What the composition root needs is loaded by the processes that serve, not by a supervisor.
    from pointsman.gateway.app import create_app
    from pointsman.gateway.process.serving import MISCONFIGURED, Serving

    try:
        serving = Serving(create_app(settings))
    except MISCONFIGURED as error:
        # The operator's to mend: a sentence says more than a traceback.
        _log.error("cannot start: %s", error)
        return STARTUP_FAILED
    _spare_collector()
    server = Server(serving, on_ready)
    stopping.server = server
    try:
        server.run(sockets=[listener])
    except SystemExit as ended:
        # uvicorn leaves this way when the app's start fails; it has logged why.
        return ended.code if isinstance(ended.code, int) else STARTUP_FAILED
    return 0 if server.started else STARTUP_FAILED


def uvicorn_config(serving: Serving) -> uvicorn.Config:
    """The server's settings for this gateway."""
    from pointsman.gateway.http.protocol import GatewayProtocol

    return uvicorn.Config(
        serving,
        loop="uvloop",
        http=partial(GatewayProtocol, serving=serving),  # type: ignore[arg-type]  # it is called as a class would be
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(serving.settings.server.graceful_shutdown_s),
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


def handle_signals(server: Server, read: Callable[[], Settings]) -> None:
    """Change the settings of this process, which serves alone, on SIGHUP and SIGUSR1. Needs the running event loop.

    Args:
        server: Serves.
        read: Reads the settings again; raises SettingsError.
    """
    from pointsman.gateway.process.reload import Reloader, ReloadTarget

    async def here(_: Settings) -> list[ReloadTarget]:
        return [server.serving]

    serving = server.serving
    reloader = Reloader(serving.settings, read, here, serving.apply_report, asyncio.Lock())
    commands: dict[str, Callable[[], Awaitable[ReloadReport]]] = {
        "reload": reloader.reload,
        "rollback": reloader.rollback,
    }
    serving.configuration.set_change_handler(lambda command: commands[command]())
    on_signal(signal.SIGHUP, reloader.reload)
    on_signal(signal.SIGUSR1, reloader.rollback)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR2, _log.error, "one process serves, and nobody could take over from it: start with --workers 2"
    )


def on_signal(signum: signal.Signals, act: Callable[[], Awaitable[object]]) -> None:
    """Do something in a task whenever a signal comes."""
    under_way: set[asyncio.Future[object]] = set()

    def begin() -> None:
        task = asyncio.ensure_future(act())
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    asyncio.get_running_loop().add_signal_handler(signum, begin)


class _Stopping:
    """Receives signals around uvicorn's own handling of them."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.server is None:
            raise SystemExit(0)
        self.server.should_exit = True
