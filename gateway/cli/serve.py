"""`pointsman serve`: read the settings, start what they need, serve until told to stop."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pointsman.gateway.cli.config import EMPTY_POOL

if TYPE_CHECKING:
    from pointsman.gateway.settings import Settings

_log = logging.getLogger(__name__)

_LEVELS = ("debug", "info", "warning", "error")


@click.command("serve")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; without it, the embedded default pool.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.  [default: 8080]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve.  [default: 1]")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="How much to log.")
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, log_level: str) -> None:
    """Serve the OpenAI API in front of the pool.

    Options are stronger than the environment (POINTSMAN_HOST, POINTSMAN_PORT, POINTSMAN_WORKERS, REDIS_URL), and the
    environment is stronger than the file. SIGTERM and Ctrl-C let requests in flight end. SIGHUP reads the file again,
    SIGUSR1 goes back to the settings before, SIGUSR2 replaces the workers one by one; no request is lost by any of it.
    """
    from pointsman.gateway.settings import SettingsError
    from pointsman.gateway.settings.load import read_settings

    options = {"server.host": host, "server.port": port, "server.workers": workers}
    overrides = {key: value for key, value in options.items() if value is not None}

    def read() -> Settings:
        loaded = read_settings(config, os.environ, overrides)
        for sentence in loaded.warnings:
            click.echo(f"warning: {sentence}", err=True)
        return loaded.settings

    try:
        settings = read()
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    sys.exit(_serve(settings, read, config, log_level))


def _serve(settings: Settings, read: Callable[[], Settings], config: Path | None, log_level: str) -> int:
    # Before there is anything to reload, signals to reload have no effect and do not end the process.
    for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    # A decision is too small to share among threads: they would only wait for each other, and cost memory. Set before
    # numpy is first imported, for this process and its workers.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from pointsman.gateway.process.runtime_dir import runtime_dir
    from pointsman.gateway.process.server import Server, bind, handle_signals, log_config, serve_here

    if not settings.pool.experts:
        raise click.ClickException(EMPTY_POOL)
    logging.config.dictConfig(log_config(log_level))
    try:
        listener = bind(settings.server.host, settings.server.port)
    except OSError as error:
        where = f"{settings.server.host}:{settings.server.port}"
        raise click.ClickException(f"cannot listen on {where}: {error.strerror or error}") from None
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(listener)
        try:
            folder = cleanup.enter_context(runtime_dir())
        except OSError as error:
            raise click.ClickException(f"no folder for sockets (POINTSMAN_RUNTIME_DIR or TMPDIR): {error}") from None
        with_redis, redis_kind = cleanup.enter_context(_redis(settings, folder))
        announce = _banner(with_redis, listener, config, redis_kind)
        again = partial(
            _read_again,
            read,
            None if settings.redis.url else with_redis.redis.url,
            scripts=_may_limit(settings),
            in_terminal=sys.stdin.isatty(),
        )
        if with_redis.server.workers > 1:
            return _supervise(with_redis, listener, again, folder, log_level, announce)

        def ready(server: Server) -> None:
            handle_signals(server, again)
            announce()

        return serve_here(with_redis, listener, logging_config=log_config(log_level), on_ready=ready)


def _read_again(
    read: Callable[[], Settings], embedded_redis: str | None, *, scripts: bool, in_terminal: bool
) -> Settings:
    """The settings as they are now, with the URL of our own Redis where they ask for that.

    Raises:
        SettingsError: They are wrong, or nobody asked for them.
    """
    from pointsman.gateway.settings import SettingsError

    if in_terminal and not _terminal():
        # SIGHUP in its first meaning: the window is closed, and what ran in it ends.
        os.kill(os.getpid(), signal.SIGTERM)
        raise SettingsError(["the terminal is gone; stopping"])
    settings = read()
    if not settings.pool.experts:
        raise SettingsError([EMPTY_POOL])
    if settings.redis.url is not None or not settings.redis.embedded:
        return settings
    if embedded_redis is None:
        # Only a start could start one.
        _log.warning("no Redis of our own runs; every process remembers for itself")
        return settings
    if _may_limit(settings) and not scripts:
        raise SettingsError(["auth.keys: the embedded Redis was started for no keys; start the gateway again"])
    return _at_redis(settings, embedded_redis)


def _supervise(
    settings: Settings,
    listener: socket.socket,
    read: Callable[[], Settings],
    folder: Path,
    log_level: str,
    announce: Callable[[], None],
) -> int:
    import asyncio

    from pointsman.gateway.process.supervisor import Supervisor

    metrics = folder / "metrics"
    metrics.mkdir(mode=0o700, exist_ok=True)
    for left_over in metrics.glob("*.db"):
        # A folder that the operator named may hold the counts of an earlier run; ours begin at nought.
        left_over.unlink()
    # The workers' metrics are added up through files here (Prometheus's multi-process mode).
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    supervisor = Supervisor(settings, listener, read=read, log_level=log_level, metrics_dir=metrics, on_ready=announce)
    return asyncio.run(supervisor.run())


@contextlib.contextmanager
def _redis(settings: Settings, folder: Path) -> Iterator[tuple[Settings, str]]:
    """The settings with the URL of the Redis that is there, and what to call it."""
    if settings.redis.url is not None:
        yield settings, _without_password(settings.redis.url)
        return
    if not settings.redis.embedded:
        yield settings, "none"
        return
    from pointsman.gateway.process.redis_server import EmbeddedRedis

    server = EmbeddedRedis(folder, scripts=_may_limit(settings))
    if not server.start():
        yield settings, "none (every process remembers for itself)"
        return
    try:
        yield _at_redis(settings, server.url), f"embedded (pid {server.pid})"
    finally:
        server.stop()


def _may_limit(settings: Settings) -> bool:
    """Whether a caller has limits, or may be given some by a reload: only then the embedded Redis runs scripts."""
    return bool(settings.auth.keys)


def _terminal() -> bool:
    try:
        os.tcgetpgrp(sys.stdin.fileno())
    except OSError:
        return False
    return True


def _at_redis(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    _, at, place = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"…@{place}" if at else place, parts.path, "", ""))


def _banner(settings: Settings, listener: socket.socket, config: Path | None, redis: str) -> Callable[[], None]:
    from pointsman.gateway.process.server import url_of

    url = url_of(listener)

    def show() -> None:
        pool = settings.pool.experts
        names = ", ".join(expert.name for expert in pool[:8]) + (", …" if len(pool) > 8 else "")
        workers = settings.server.workers
        key = ' -H "authorization: Bearer $KEY"' if settings.auth.keys else ""
        lines = [
            f"Pointsman {version('pointsman')} at {url}" + (f" ({workers} workers)" if workers > 1 else ""),
            f"  settings  {config or 'embedded default'}",
            f"  experts   {len(pool)}: {names}",
            f"  router    {settings.router.artifact}",
            f"  redis     {redis}",
            f"  callers   {f'{len(settings.auth.keys)} key(s)' if settings.auth.keys else 'everybody who can connect'}",
            "Try:",
            f"  curl {url}/v1/chat/completions{key} -H 'content-type: application/json' \\",
            """    -d '{"model": "auto", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}'""",
        ]
        click.echo("\n".join(lines))
        sys.stdout.flush()

    return show
