"""Clients that keep asking a gateway while something is done to it, and count every answer that is not whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.e2e.test_transports import ANSWER, CHUNK, DONE, chunk, stream_head, whole
from tests.unit.experts.raw_server import Peer, Server, talking

_PIECES = 5


@asynccontextmanager
async def slow_expert(pause_s: float) -> AsyncIterator[Server]:
    """An expert that takes its time, streamed or not."""

    async def answering(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if json.loads(request.partition(b"\r\n\r\n")[2]).get("stream"):
                await peer.say(stream_head())
                for _ in range(_PIECES):
                    await asyncio.sleep(pause_s / _PIECES)
                    await peer.say(chunk(CHUNK % b"word"))
                await peer.say(chunk(DONE), b"0\r\n\r\n")
            else:
                await asyncio.sleep(pause_s)
                await peer.say(whole(ANSWER))

    async with talking(answering) as server:
        yield server


@dataclass
class Load:
    """What came of the requests so far."""

    url: str
    answered: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    async def keep_asking(self, body: dict[str, Any], pause_s: float = 0.0, *, kept: bool = True) -> None:
        """One request after another, on a connection that is kept, or each on one of its own."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=not kept)) as http:
            while True:
                try:
                    await self._ask(http, body)
                except (aiohttp.ClientError, OSError) as error:
                    self.problems.append(repr(error))
                    await asyncio.sleep(0.01)
                await asyncio.sleep(pause_s)

    async def _ask(self, http: aiohttp.ClientSession, body: dict[str, Any]) -> None:
        async with http.post(f"{self.url}/v1/chat/completions", json=body) as reply:
            answer = await reply.read()
        if reply.status != 200:
            self.problems.append(f"{reply.status} {answer.decode()}")
        elif body["stream"] and (answer.count(b"word") != _PIECES or not answer.endswith(DONE)):
            self.problems.append(f"a broken stream: {answer.decode()}")
        else:
            self.answered[reply.headers["x-pointsman-expert"]] += 1


@asynccontextmanager
async def load_on(url: str, *, clients: int = 12, model: str = "auto") -> AsyncIterator[Load]:
    """Half of the clients stream; some pause, so that connections lie idle; some connect anew for each request."""
    load = Load(url)

    def body(nth: int) -> dict[str, Any]:
        words = "What is the sum of these numbers?" if nth % 3 else f"Say something, number {nth}."
        return {"model": model, "stream": nth % 2 == 0, "messages": [{"role": "user", "content": words}]}

    asking = [
        asyncio.create_task(load.keep_asking(body(nth), 0.05 * (nth % 4), kept=nth % 5 > 0)) for nth in range(clients)
    ]
    try:
        yield load
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@dataclass
class Polite:
    """A client on one connection, which it uses until an answer says that it was the last one there.

    A connection that is closed while nothing is due is no fault; one that is closed on a request is.
    """

    url: str
    stream: bool
    pause_s: float
    answers: int = 0
    last: bool = False
    problem: str | None = None

    async def talk(self) -> None:
        """Ask until told to go, or until the connection is closed."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps({"model": "auto", "stream": self.stream, "messages": [{"role": "user", "content": "Hi."}]})
        request = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        try:
            while not self.last and not reader.at_eof():
                writer.write(request.encode())
                try:
                    await self._answer(reader)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    self.problem = f"after {self.answers} answers: {error!r}"
                    return
                with contextlib.suppress(TimeoutError):
                    # Something to read before anything is asked for can only be the end.
                    async with asyncio.timeout(self.pause_s):
                        if await reader.read(1) == b"":
                            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self.stream:
            answer = await reader.readuntil(b"0\r\n\r\n")
        else:
            answer = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        if not head.startswith(b"HTTP/1.1 200") or (self.stream and DONE not in answer):
            self.problem = f"{head.decode()}{answer.decode()}"
        self.answers += 1
        self.last = b"connection: close" in head.lower()
