"""`pointsman serve`: read the settings, start what they need, serve until told to stop."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.settings import Settings

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
    environment is stronger than the file. SIGTERM and Ctrl-C let requests in flight end.
    """
    from gateway.settings import SettingsError, load_settings

    options = {"server.host": host, "server.port": port, "server.workers": workers}
    try:
        settings = load_settings(
            config, os.environ, {key: value for key, value in options.items() if value is not None}
        )
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    sys.exit(_serve(settings, config, log_level))


def _serve(settings: Settings, config: Path | None, log_level: str) -> int:
    # A decision is too small to share among threads: they would only wait for each other, and cost memory. Set before
    # numpy is first imported, for this process and its workers.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from gateway.runtime_dir import runtime_dir
    from gateway.server import bind, log_config, serve_here

    if not settings.pool.experts:
        raise click.ClickException("the pool is empty: name at least one expert under pool.experts or pool.model_list")
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
        if with_redis.server.workers == 1:
            return serve_here(with_redis, listener, logging_config=log_config(log_level), on_ready=lambda _: announce())
        return _supervise(with_redis, listener, folder, log_level, announce)


def _supervise(
    settings: Settings, listener: socket.socket, folder: Path, log_level: str, announce: Callable[[], None]
) -> int:
    import asyncio

    from gateway.supervisor import Supervisor

    metrics = folder / "metrics"
    metrics.mkdir(mode=0o700, exist_ok=True)
    for left_over in metrics.glob("*.db"):
        # A folder that the operator named may hold the counts of an earlier run; ours begin at nought.
        left_over.unlink()
    # The workers' metrics are added up through files here (Prometheus's multi-process mode).
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    supervisor = Supervisor(settings, listener, log_level=log_level, metrics_dir=metrics, on_ready=announce)
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
    from gateway.redis_server import EmbeddedRedis

    server = EmbeddedRedis(folder)
    if not server.start():
        yield settings, "none (every process remembers for itself)"
        return
    try:
        redis = settings.redis.model_copy(update={"url": server.url})
        yield settings.model_copy(update={"redis": redis}), f"embedded (pid {server.pid})"
    finally:
        server.stop()


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    _, at, place = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"…@{place}" if at else place, parts.path, "", ""))


def _banner(settings: Settings, listener: socket.socket, config: Path | None, redis: str) -> Callable[[], None]:
    from gateway.server import url_of

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
