"""Fields of a JSON document's outermost object, found without making the document: a large one costs time, not memory.

Reading a document of megabytes into objects takes seconds and many times its size, and nothing else runs meanwhile.
Here it is looked at block by block, with numpy, which lets other threads run.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES: Final = 128 * 1024
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
#: Braces; a bracket becomes one with the bit set.
_OPENS: Final = 0x7B
_CLOSES: Final = 0x7D
_BIT: Final = 0x20
_COLON: Final = re.compile(rb"\s*+:\s*+")
_BLANK: Final = re.compile(rb"\s*+")
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


def values_at_top(body: bytes, names: Collection[bytes], begin: int = 0) -> dict[bytes, int]:
    """Where the values of fields begin, of the last field where a name stands twice.

    What is no JSON is not noticed; the result then means nothing or is empty, as for names spelt with escapes.

    Args:
        body: The document.
        names: Of the fields, without quotes, ASCII.
        begin: Where the object begins; blanks before it are skipped.
    """
    begin = _BLANK.match(body, begin).end()  # type: ignore[union-attr]  # it matches the empty string
    found: dict[bytes, int] = {}
    if body[begin : begin + 1] != b"{":
        return found
    data = np.frombuffer(body, np.uint8)
    quoted = {name: np.frombuffer(b'"%b"' % name, np.uint8) for name in names}
    escaped = in_string = False
    depth = 0
    for at in range(begin, len(body), _BLOCK_BYTES):
        block = data[at : at + _BLOCK_BYTES]
        quotes = block == _QUOTE
        escaped = _drop_escaped(block, quotes, escaped)
        inside = (np.cumsum(quotes, dtype=np.int32) + in_string) & 1 == 1
        folded = block | _BIT
        steps = (folded == _OPENS).astype(np.int32) - (folded == _CLOSES)
        steps[inside] = 0
        depths = np.cumsum(steps, dtype=np.int32) + depth
        over = np.flatnonzero((depths <= 0) & (steps < 0))
        last = int(over[0]) if len(over) else len(block)
        keys = np.flatnonzero((quotes & inside & (depths == 1))[:last]) + at
        for name, spelt in quoted.items():
            value = _last_value(body, data, keys, spelt)
            if value is not None:
                found[name] = value
        if len(over):
            break
        in_string, depth = bool(inside[-1]), int(depths[-1])
    return found


def span_at(body: bytes, begin: int, most_bytes: int) -> bytes | None:
    """The string, object or list that begins somewhere; None where it is none or longer than `most_bytes`."""
    depth = 0
    for token in _TOKEN.finditer(body, begin, begin + most_bytes):
        if not depth and token.start() != begin:
            return None
        said = token.group()
        if said in b"{[":
            depth += 1
        elif said in b"}]":
            depth -= 1
        if depth <= 0:
            return body[begin : token.end()]
    return None


def _drop_escaped(block: NDArray[np.uint8], quotes: NDArray[np.bool_], escaped: bool) -> bool:
    """Take the quotes out that a backslash stands before.

    Args:
        block: Bytes.
        quotes: Where quotes are; changed.
        escaped: Whether the first byte is escaped by what comes before.

    Returns:
        Whether the byte behind the block is escaped.
    """
    slashes = np.flatnonzero(block == _BACKSLASH)
    if escaped:
        quotes[0] = False
    if not len(slashes):
        return False
    order = np.arange(len(slashes))
    begins = np.diff(slashes, prepend=-2) != 1
    in_run = order - np.maximum.accumulate(np.where(begins, order, 0))
    if escaped and slashes[0] == 0:
        in_run[: _first_run(begins)] += 1
    # Of a run of backslashes every second one is escaped itself.
    behind = slashes[in_run % 2 == 0] + 1
    ends_within = len(behind) and int(behind[-1]) == len(block)
    quotes[behind[:-1] if ends_within else behind] = False
    return bool(ends_within)


def _first_run(begins: NDArray[np.bool_]) -> int:
    later = np.flatnonzero(begins[1:])
    return int(later[0]) + 1 if len(later) else len(begins)


def _last_value(body: bytes, data: NDArray[np.uint8], keys: NDArray[np.intp], spelt: NDArray[np.uint8]) -> int | None:
    """Where the value of the last of these strings begins that is spelt so and is followed by a colon."""
    keys = keys[keys + len(spelt) <= len(data)]
    for place, byte in enumerate(spelt[1:].tolist(), 1):
        keys = keys[data[keys + place] == byte]
        if not len(keys):
            return None
    for key in keys[::-1].tolist():
        colon = _COLON.match(body, key + len(spelt))
        if colon is not None:
            return colon.end()
    return None
