"""A gateway with scripted experts behind it, in process or over HTTP, and a crowd of clients in front."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Literal

import aiohttp

from pointsman.experts.backends.fake import Script
from pointsman.experts.backends.fake.server import FakeServer
from tests.e2e.running import Running, Transport, fake, running
from tests.unit.experts.raw_server import Peer, talking

ENV = {"KEY_A": "sk-aaaaaaaaaaaaaaaa"}

#: One after another, or all at the same moment.
AT_ONCE, ONE_BY_ONE = 8, 5


@dataclass(frozen=True, slots=True)
class Scripted:
    """An expert.

    Attributes:
        name: Its name.
        over: `http` is a server; `process` is none; `refused` is a port where nobody listens; `stale` is a server
            that answers once on each connection, and closes it on the next request.
        prior: Its quality.
        script: What it does.
        fields: Further settings.
    """

    name: str = "only"
    over: Literal["http", "process", "refused", "stale"] = "http"
    prior: float = 0.5
    script: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, port: int | None) -> dict[str, Any]:
        """As the gateway knows it."""
        where = {"options": dict(self.script)} if port is None else {"base_url": f"http://127.0.0.1:{port}"}
        backend = "fake" if port is None else "openai_http"
        more = {"backend": backend, "generalist": True, **where, **self.fields}
        return fake(self.name, prior={"*": self.prior}, **more)


@dataclass(frozen=True, slots=True)
class Staged:
    """A gateway, its experts and a client.

    Attributes:
        gateway: It.
        tree: Its settings.
        http: A client that takes as many connections as it has requests.
        heard: How many requests each expert got so far.
    """

    gateway: Running
    tree: dict[str, Any]
    http: aiohttp.ClientSession
    heard: Mapping[str, Callable[[], int]]

    def asked(self) -> int:
        """Calls that reached an expert so far."""
        return sum(heard() for heard in self.heard.values())


async def _listen(expert: Scripted, stack: AsyncExitStack) -> tuple[int | None, Callable[[], int] | None]:
    """Its port, and how many requests it heard."""
    if expert.over == "refused":
        # Bound and not listening: nobody else gets the port.
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1]), lambda: 0
    if expert.over == "stale":
        answered = 0

        async def once(peer: Peer) -> None:
            nonlocal answered
            body = json.loads((await peer.request()).partition(b"\r\n\r\n")[2])
            answered += 1
            await peer.say(_streamed() if body.get("stream") else _whole())
            await peer.reader.readuntil(b"\r\n\r\n")

        return (await stack.enter_async_context(talking(once))).port, lambda: answered
    if expert.over == "process":
        return None, None
    server = FakeServer(Script.model_validate(expert.script))
    await server.start()
    stack.push_async_callback(server.aclose)
    return server.port, lambda: server.stats.started


def _whole() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    body = json.dumps({"id": "1", "model": "m", "choices": [choice]}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _streamed() -> bytes:
    event = b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"ok"}}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(event), event)


@asynccontextmanager
async def staged(
    transport: Transport, *experts: Scripted, env: dict[str, str] | None = None, **settings: Any
) -> AsyncIterator[Staged]:
    """Serve until the block ends."""
    async with AsyncExitStack() as stack:
        heard: dict[str, Callable[[], int]] = {}
        pool = []
        for expert in experts:
            port, counter = await _listen(expert, stack)
            pool.append(expert.settings(port))
            if counter is not None:
                heard[expert.name] = counter
        tree = {"pool": {"experts": pool, "probe_interval_s": 0}, **settings}
        async with serving(transport, tree, env) as stage:
            for expert in experts:
                if expert.over == "process":
                    heard[expert.name] = partial(attrgetter("started"), stage.gateway.fake(expert.name).stats)
            yield Staged(stage.gateway, tree, stage.http, heard)


@asynccontextmanager
async def serving(
    transport: Transport, tree: dict[str, Any], env: dict[str, str] | None = None
) -> AsyncIterator[Staged]:
    """The same with settings that are complete."""
    async with (
        running(tree, env, transport=transport) as gateway,
        aiohttp.ClientSession(gateway.url, connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        yield Staged(gateway, tree, http, {})


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; `{n}` in a message is the request's number."""

    path: str = "/v1/chat/completions"
    body: Mapping[str, Any] = field(default_factory=lambda: chat())
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    async def ask(self, stage: Staged, number: int, *, stream: bool = False) -> int:
        """Its status; the answer has been read to its end."""
        body = {**self.body, "stream": True} if stream else self.body
        data = json.dumps(body).replace("{n}", str(number)).encode() if self.raw is None else self.raw
        headers = {"content-type": "application/json", **self.headers}
        async with stage.http.post(self.path, data=data, headers=headers) as reply:
            await reply.read()
            return reply.status

    async def crowd(self, stage: Staged, requests: int, *, stream: bool = False, first: int = 0) -> list[int]:
        """The statuses of so many requests: `AT_ONCE` come at once, `ONE_BY_ONE` one after another."""
        numbers = range(first, first + requests)
        if requests == ONE_BY_ONE:
            return [await self.ask(stage, number, stream=stream) for number in numbers]
        return await asyncio.gather(*(self.ask(stage, number, stream=stream) for number in numbers))


def chat(model: str = "auto", **more: Any) -> dict[str, Any]:
    """The body of a chat."""
    return {"model": model, "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 50, **more}
