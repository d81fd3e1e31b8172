"""Where an HTTP server is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect and how to say so.

    Attributes:
        host: Name or address, empty for a unix-domain socket.
        port: TCP port, 0 for a unix-domain socket.
        path: What stands before every path, without a trailing slash.
        uds: Path of a unix-domain socket, None for TCP.
        tls: Whether to speak TLS.
    """

    host: str
    port: int
    path: str = ""
    uds: str | None = None
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read `http://host:port/path`, `https://...` or `http+unix://%2Fpath%2Fof.sock/path`.

        Raises:
            ValueError: It is none of them, or holds credentials, a query or a fragment.
        """
        parts = urlsplit(url)
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("the URL of an origin has no credentials, query or fragment")
        path = parts.path.rstrip("/")
        if any(not 33 <= ord(character) <= 126 for character in parts.netloc + path):
            raise ValueError("not a URL in ASCII without spaces")
        if parts.scheme == "http+unix":
            if not parts.netloc:
                raise ValueError("the URL names no socket")
            return cls("", 0, path, uds=unquote(parts.netloc))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http, https or http+unix URL")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), path, tls=tls)

    @property
    def authority(self) -> str:
        """The value of the `host` header."""
        if self.uds is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"
