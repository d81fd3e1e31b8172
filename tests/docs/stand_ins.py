"""Scripted servers in place of those that pages name: `http://vllm-code:8000` is one of them here."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from pointsman.experts.backends.fake import Script
from pointsman.experts.backends.fake.server import FakeServer


class StandIns:
    """Servers on an event loop of their own, one for each name that is asked for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: dict[str, FakeServer] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            asyncio.run_coroutine_threadsafe(server.aclose(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def port(self, name: str) -> int:
        """Where the server for this name listens."""
        if name not in self._servers:
            server = FakeServer(Script(reply="A scripted answer to: {prompt}"))
            asyncio.run_coroutine_threadsafe(server.start(), self._loop).result(10)
            self._servers[name] = server
        return self._servers[name].port

    def asked(self) -> int:
        """Calls that they got."""
        return sum(server.stats.started for server in self._servers.values())
