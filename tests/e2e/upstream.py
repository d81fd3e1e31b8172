"""An expert that says exactly the bytes a test wants, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from pointsman.experts.http1.server import ServerExchange, serve

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass
class Asked:
    """One request as it came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


@dataclass
class Says:
    """An answer."""

    body: bytes
    kind: str = JSON
    status: int = 200
    breaks: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class Upstream:
    """What it says by path, and what it was asked."""

    answers: dict[str, Says] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def expert(self, name: str, *capabilities: str, prior: float = 0.5, **fields: Any) -> dict[str, Any]:
        """Its settings as an expert whose own model is `inner`."""
        return {
            "name": name,
            "backend": "openai_http",
            "model": "inner",
            "base_url": f"http://127.0.0.1:{self.port}",
            "quality_prior": {"*": prior},
            "capabilities": list(capabilities),
            **fields,
        }

    def handle(self, exchange: ServerExchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request."""
        if exchange.method == "GET":
            exchange.respond(200, (), b"{}")
            return None
        headers = {name.decode(): value.decode() for name, value in exchange.headers}
        self.asked.append(Asked(exchange.target, headers, exchange.body))
        says = self.answers.get(exchange.target, Says(b'{"error":{"message":"no such page"}}', status=404))
        head = ((b"content-type", says.kind.encode()), *says.headers)
        if says.kind == JSON:
            exchange.respond(says.status, head, says.body)
            return None
        return self._stream(exchange, says, head)

    async def _stream(self, exchange: ServerExchange, says: Says, head: tuple[tuple[bytes, bytes], ...]) -> None:
        exchange.begin(says.status, head)
        # Pieces that end anywhere but at an event's end.
        for at in range(0, len(says.body), 37):
            await exchange.send(says.body[at : at + 37])
            await asyncio.sleep(0)
        if says.breaks:
            exchange.close()
        else:
            exchange.end()


@asynccontextmanager
async def upstream(**answers: Says) -> AsyncIterator[Upstream]:
    """Listen until the block ends; a keyword is a path below `/v1/` with `__` for its slashes."""
    said = Upstream({"/v1/" + path.replace("__", "/"): says for path, says in answers.items()})
    server = await serve(said.handle)
    said.port = int(server.sockets[0].getsockname()[1])
    try:
        yield said
    finally:
        server.close()
