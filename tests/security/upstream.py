"""Servers around a gateway: an expert that says what a test wants, word for word, and a stranger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = b'{"id":"1","object":"chat.completion","model":"inner","choices":[]}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(OK), OK)


@dataclass
class Heard:
    """A server that listens.

    Attributes:
        url: Where.
        requests: Every request, head and body.
        connections: How often somebody came at all.
    """

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def saying(answer: bytes | Callable[[bytes], bytes] = PLAIN) -> AsyncIterator[Heard]:
    """An HTTP server that answers every request with these bytes, word for word, and keeps what it heard."""
    heard = Heard()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                heard.requests.append(head + await reader.readexactly(int(length or 0)))
                writer.write(answer if isinstance(answer, bytes) else answer(heard.requests[-1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    heard.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield heard
    finally:
        server.close()


def expert(heard: Heard, **fields: Any) -> dict[str, Any]:
    """Settings of an expert behind such a server."""
    return {
        "name": "outer",
        "backend": "openai_http",
        "model": "inner",
        "base_url": heard.url,
        "api_key_env": "OWN_KEY",
        "generalist": True,
        **fields,
    }


ENV = {"OWN_KEY": "sk-the-operators-own"}
