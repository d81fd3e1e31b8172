"""Where a redirect leads: another path of the same server, or nowhere that a request may follow."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urljoin, urlsplit

from pointsman.experts.http1.origin import Origin

#: Statuses after which the same request, method and body, is sent again elsewhere. After a 303 it would be a GET, which
#: is no request of ours; 301 and 302 turn a POST into a GET in browsers, and mean what 308 and 307 mean in APIs.
FOLLOWED: Final = frozenset({301, 302, 307, 308})
#: How often one request is sent elsewhere.
MOST_REDIRECTS: Final = 3
_MOST_TARGET: Final = 2048
#: Steps up a path, however they are written.
_DOTS: Final = re.compile(r"(?:^|/|%2f)(?:\.|%2e){1,2}(?:/|%2f|$)", re.IGNORECASE)


def with_target(message: bytes, origin: Origin, location: bytes) -> bytes | None:
    """A request as it is sent to the path that a redirect names; None where that is no place for it.

    It has to lie at the same origin, and either below the origin's own path or end as the request's did: a server may
    move its API or want a slash more, and may not choose what else of its machine is called with the operator's key.

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
    if _DOTS.search(there.path):
        return None
    endpoint = target.decode("ascii").partition("?")[0].removeprefix(origin.path)
    below = bool(origin.path) and there.path.startswith(f"{origin.path}/")
    if not below and not there.path.rstrip("/").endswith(endpoint.rstrip("/") or "/"):
        return None
    return b"%b %b %b\r\n%b" % (method, path.encode("ascii"), version, rest)
