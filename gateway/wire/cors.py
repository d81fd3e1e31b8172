"""What browsers ask before, and after, a page of another origin calls (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pointsman.gateway.settings.cors import CorsSettings

_METHODS: Final = b"GET, HEAD, POST, DELETE, OPTIONS"
_ASKS_METHOD: Final = b"access-control-request-method"
_ASKS_HEADERS: Final = b"access-control-request-headers"
#: Without being named here a page cannot read them; a star does not stand for all where credentials are sent.
_EXPOSED: Final = (
    b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, x-pointsman-decision, "
    b"x-pointsman-expert, x-pointsman-reason, x-pointsman-cache, x-pointsman-category, x-pointsman-overhead-ms"
)


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """Which pages may call.

    Attributes:
        origins: Theirs; `*` stands for all.
        allowed_headers: Request headers that they may send; empty for whatever they ask.
        credentials: Whether cookies and logins may come along.
        max_age_s: How long a browser may remember it.
    """

    origins: frozenset[bytes]
    allowed_headers: bytes
    credentials: bool
    max_age_s: int

    def headers(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        """The headers of a response to a page of that origin."""
        every = b"*" in self.origins
        found = [] if every else [(b"vary", b"origin")]
        if not every and origin not in self.origins:
            return found
        found += [
            (b"access-control-allow-origin", b"*" if every else origin),
            (b"access-control-expose-headers", _EXPOSED),
        ]
        if self.credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        return found


def cross_origin(settings: CorsSettings) -> CrossOrigin | None:
    """The pages that may call; None where there are none."""
    if not settings.origins:
        return None
    return CrossOrigin(
        frozenset(origin.encode() for origin in settings.origins),
        ", ".join(settings.headers).encode(),
        settings.credentials,
        settings.max_age_s,
    )


def preflight(asked: Mapping[bytes, bytes], cors: CrossOrigin | None) -> tuple[int, list[tuple[bytes, bytes]]] | None:
    """Status and headers of the answer to a browser that asks before it calls; None where it does not.

    What every response says to a page's origin is added to it like to any other; a page that may not call learns it
    from what is missing there.

    Args:
        asked: Headers of the request, lower-case names.
        cors: Which pages may call.
    """
    if cors is None or b"origin" not in asked or _ASKS_METHOD not in asked:
        return None
    return 204, [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", cors.allowed_headers or asked.get(_ASKS_HEADERS, b"*")),
        (b"access-control-max-age", b"%d" % cors.max_age_s),
    ]
