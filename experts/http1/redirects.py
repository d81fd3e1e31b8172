"""Where a redirect leads: another path of the same server, or nowhere that a request may follow."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from pointsman.experts.http1.origin import Origin

#: Statuses after which the same request, method and body, is sent again elsewhere. After a 303 it would be a GET, which
#: is no request of ours; 301 and 302 turn a POST into a GET in browsers, and mean what 308 and 307 mean in APIs.
FOLLOWED: Final = frozenset({301, 302, 307, 308})
#: How often one request is sent elsewhere.
MOST_REDIRECTS: Final = 3
_MOST_TARGET: Final = 2048


def with_target(message: bytes, origin: Origin, location: bytes) -> bytes | None:
    """A request as it is sent to the path that a redirect names; None where that is no path of the same origin.

    Args:
        message: The request, head and body.
        origin: Where it went; its key goes nowhere else.
        location: Of the redirect: a URL, or a path, absolute or relative to the request's.
    """
    line, _, rest = message.partition(b"\r\n")
    method, target, version = line.split(b" ", 2)
    try:
        said = location.decode("ascii")
        base = f"{'https' if origin.tls else 'http'}://{origin.authority}"
        there = urlsplit(urljoin(base + target.decode("ascii"), said))
        port = there.port or {"http": 80, "https": 443}.get(there.scheme, 0)
    except (ValueError, UnicodeDecodeError):
        return None
    if "\\" in said or "@" in there.netloc or there.scheme != ("https" if origin.tls else "http"):
        return None
    if origin.uds is not None:
        same = there.netloc == origin.authority
    else:
        same = (there.hostname or "") == origin.host.lower() and port == origin.port
    path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    if not same or len(path) > _MOST_TARGET or any(not 33 <= ord(character) <= 126 for character in path):
        return None
    return b"%b %b %b\r\n%b" % (method, path.encode("ascii"), version, rest)
