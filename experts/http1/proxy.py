"""Forward proxies: which one a request goes through, and how a connection is opened through it."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from pointsman.experts.http1.failures import ConnectError
from pointsman.experts.http1.origin import Origin

#: A proxy that answers with more than that before its empty line answers no CONNECT.
_MOST_HEAD_BYTES: Final = 16_384
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy that speaks HTTP.

    Attributes:
        host: Name or address.
        port: TCP port.
        credentials: Value of `proxy-authorization`; None where the proxy asks for none.
    """

    host: str
    port: int
    credentials: bytes | None = None

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://[user:password@]host[:port]`, or the same without its scheme.

        Raises:
            ValueError: It is none. The text is not quoted, since it may hold a password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the address of the proxy cannot be read") from None
        if parts.scheme != "http":
            raise ValueError(f"a proxy is reached by http://, not by {parts.scheme}://")
        if not host or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("the address of a proxy is a host and a port")
        credentials = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = b"Basic " + base64.b64encode(pair.encode())
        return cls(host, port or _DEFAULT_PORT, credentials)


def proxy_of_environment(origin: Origin, env: Mapping[str, str]) -> Proxy | None:
    """The proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name for an origin, unless `NO_PROXY` does.

    Small letters go first, as curl reads them. This machine itself is reached without any.

    Raises:
        ValueError: What the variable holds is no address of a proxy; it is named.
    """
    if origin.uds is not None or _is_loopback(origin.host) or _left_out(origin, _read(env, "NO_PROXY")[1]):
        return None
    for variable in ("HTTPS_PROXY" if origin.tls else "HTTP_PROXY", "ALL_PROXY"):
        name, url = _read(env, variable)
        if url:
            try:
                return Proxy.parse(url)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return None


def _read(env: Mapping[str, str], variable: str) -> tuple[str, str]:
    for name in (variable.lower(), variable):
        if env.get(name, "").strip():
            return name, env[name].strip()
    return variable, ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _left_out(origin: Origin, listed: str) -> bool:
    """Whether a list names an origin: `*`, a domain and all below it, an address, a network; or a host and port."""
    return any(_names(entry.strip().lower(), origin) for entry in listed.replace(" ", ",").split(",") if entry.strip())


def _names(entry: str, origin: Origin) -> bool:
    host, address = origin.host.lower().rstrip("."), _address(origin.host)
    if entry == "*":
        return True
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass  # a name, or something with a port
    named, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        if int(port) != origin.port:
            return False
        entry = named.strip("[]")
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or (address is None and host.endswith(f".{name}")))


async def tunnel(loop: asyncio.AbstractEventLoop, proxy: Proxy, origin: Origin) -> asyncio.Transport:
    """A connection to an origin through a proxy (CONNECT, RFC 9110 section 9.3.6).

    Raises:
        ConnectError: The proxy refuses, or does not speak HTTP.
        OSError: It cannot be reached.
    """
    transport, answer = await loop.create_connection(lambda: _ConnectAnswer(loop), proxy.host, proxy.port)
    try:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode()
        asking = b"" if proxy.credentials is None else b"proxy-authorization: %b\r\n" % proxy.credentials
        transport.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (authority, authority, asking))
        await answer.agreed
    except BaseException:  # a cancelled call, too, leaves nothing open
        transport.abort()
        raise
    return transport


class _ConnectAnswer(asyncio.Protocol):
    """Reads what a proxy answers to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.agreed: asyncio.Future[None] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        """A piece of the head."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > _MOST_HEAD_BYTES:
                self._end("the proxy does not speak HTTP")
            return
        status = _STATUS.match(self._head)
        if status is None:
            self._end("the proxy does not speak HTTP")
        elif not status[1].startswith(b"2"):
            self._end(f"the proxy answers CONNECT with HTTP {status[1].decode()}")
        elif len(self._head) > end + 4:
            self._end("the proxy says more than an answer to CONNECT")  # a server of TLS lets its client speak first
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Before there was an answer."""
        self._end("the proxy closed the connection")

    def _end(self, failure: str | None) -> None:
        if self.agreed.done():
            return
        if failure is None:
            self.agreed.set_result(None)
        else:
            self.agreed.set_exception(ConnectError(failure))
