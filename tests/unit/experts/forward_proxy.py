"""A small forward proxy: CONNECT for tunnels, whole URLs for the rest; and a certificate authority of its own."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PIECE_BYTES = 65_536


@dataclass
class ForwardProxy:
    """Where it listens, whom it lets through, and what it was asked."""

    port: int = 0
    credentials: str | None = None
    refuses: bytes = b""
    asked: list[str] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; whoever it leads to, at a port of this machine (`names`)."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            self.asked.append(f"{method} {target}")
            given = head.lower().partition(b"proxy-authorization: ")[2].partition(b"\r\n")[0].decode()
            if self.refuses:
                writer.write(self.refuses)
            elif self.credentials is not None and given != self.credentials.lower():
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            elif method == "CONNECT":
                host, _, port = target.rpartition(":")
                upstream = await asyncio.open_connection("127.0.0.1", self.names.get(host, int(port)))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pass_on(reader, upstream[1]), _pass_on(upstream[0], writer))
            else:
                parts = urlsplit(target)
                upstream = await asyncio.open_connection(
                    "127.0.0.1", self.names.get(parts.hostname or "", parts.port or 80)
                )
                upstream[1].write(head)
                await asyncio.gather(_pass_on(reader, upstream[1]), _pass_on(upstream[0], writer))
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def forward_proxy(**fields: object) -> AsyncIterator[ForwardProxy]:
    """Listen until the block ends."""
    proxy = ForwardProxy(**fields)  # type: ignore[arg-type]
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


@dataclass(frozen=True)
class Certificates:
    """Paths of an authority's certificate, and of what it signed: a certificate and its key, for each name."""

    authority: str
    signed: dict[str, tuple[str, str]]


def make_certificates(folder: Path, *names: str) -> Certificates:
    """An authority, and a certificate of it for each name."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=an authority of our own",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    signed = {}
    for name in names:
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n", encoding="ascii")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "1", "-extfile", f"{name}.ext")  # fmt: skip
        signed[name] = (str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
    return Certificates(str(folder / "ca.pem"), signed)
