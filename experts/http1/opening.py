"""Opens the connections to an origin: over TCP, TLS or a unix-domain socket, directly or through a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.proxy import Proxy, tunnel

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)


class ConnectionSource:
    """Where connections to an origin come from.

    Args:
        origin: Where to.
        proxy: Through which; None for none.
        tls: TLS context; None for the system's trust store where the origin asks for TLS.
    """

    def __init__(self, origin: Origin, proxy: Proxy | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._origin = origin
        self._proxy = None if origin.uds is not None else proxy
        self._tls = tls

    @property
    def target(self) -> str:
        """What stands before the path in a request line: a proxy without a tunnel is told the whole URL."""
        forwarded = self._proxy is not None and not self._origin.tls
        return f"http://{self._origin.authority}{self._origin.path}" if forwarded else self._origin.path

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Of every request, for a proxy without a tunnel."""
        proxy = self._proxy
        if proxy is None or proxy.credentials is None or self._origin.tls:
            return ()
        return ((b"proxy-authorization", proxy.credentials),)

    async def open(self, make: Callable[[], ProtocolT]) -> ProtocolT:
        """A new connection.

        Raises:
            ConnectError: A proxy refuses it.
            OSError: Nobody is there, or TLS fails.
        """
        loop, origin, proxy = asyncio.get_running_loop(), self._origin, self._proxy
        if origin.uds is not None:
            return (await loop.create_unix_connection(make, origin.uds))[1]
        if not origin.tls:
            end = origin if proxy is None else proxy
            return (await loop.create_connection(make, end.host, end.port))[1]
        if self._tls is None:
            # Reading the system's trust store takes tens of milliseconds: not on the event loop.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        if proxy is None:
            secured = loop.create_connection(make, origin.host, origin.port, ssl=self._tls, server_hostname=origin.host)
            return (await secured)[1]
        raw = await tunnel(loop, proxy, origin)
        try:
            protocol = make()
            transport = await loop.start_tls(raw, protocol, self._tls, server_hostname=origin.host)
        except BaseException:  # a cancelled call, too, leaves nothing open
            raw.abort()
            raise
        if transport is None:
            raise ConnectionResetError
        protocol.connection_made(transport)  # it is not told where an open connection gets TLS
        return protocol
