"""Names in headers: a header holds printable ASCII, and a name may be any text of one line."""

from __future__ import annotations

from string import printable
from typing import Final
from urllib.parse import quote

#: What stands as it is; what separates names in a list, and begins an escape, does not.
_PLAIN: Final = "".join(sorted(set(printable) - set("\t\n\r\x0b\x0c,%")))


def header_text(name: str) -> bytes:
    """A name as it stands in a header: percent-encoded where it is not printable ASCII, or holds a comma or `%`."""
    if name.isascii() and name.isprintable() and "%" not in name and "," not in name:
        return name.encode()
    return quote(name, safe=_PLAIN).encode()
