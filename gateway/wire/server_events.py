"""Server-sent events, read as their specification has it: any line end, fields in any order, data over several lines.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Final

#: The line break that ends an event and the one before it, as a group: what is split by it is put together from its
#: pieces. A return and a line feed are one break together.
BOUNDARY: Final = re.compile(rb"(\r\n\r\n|\r?\n\n|\r\r\n?|\n\r\n)")
#: How a body begins that is events, whatever its media type says.
_BEGINS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


def events_in(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of each event in whole events; of one that says nothing, a comment or a mark, both are empty.

    A last event without the blank line behind it counts: some servers leave that out.
    """
    name, said, any_line = b"", [], False
    for line in data.splitlines():
        if line.startswith(b"data:"):
            said.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip()
        elif not line:
            if any_line:
                yield name if said else b"", b"\n".join(said)
            name, said, any_line = b"", [], False
            continue
        elif line.startswith(BOM_UTF8) and line[3:].startswith(b"data:"):
            said.append(line[8:].lstrip(b" "))
        any_line = True
    if any_line:
        yield name if said else b"", b"\n".join(said)


def are_events(body: bytes) -> bool:
    """Whether a body is events rather than a document."""
    return body[:64].removeprefix(BOM_UTF8).lstrip().startswith(_BEGINS)
