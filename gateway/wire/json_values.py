"""How many values a JSON document holds, counted in its bytes before anything is made of them.

An object or a list of nothing takes three bytes as text and fifty times as much once it is read: what a document costs
to read is a matter of its values more than of its bytes.
"""

from __future__ import annotations

from typing import Final

#: No count has more digits: every reader of JSON takes such a number for the same.
_MOST_DIGITS: Final = 15


class ValueCount:
    """Counts the values of a document that comes in pieces: what stands between its commas, colons and brackets.

    Attributes:
        found: Objects, lists, texts, numbers and names of fields so far; the last one of each list or object counts as
            the list or object itself.
    """

    __slots__ = ("_escaping", "_in_text", "found")

    def __init__(self) -> None:
        self.found = 0
        self._in_text = 0
        self._escaping = False  # the last byte escapes the next

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        if self._escaping and piece:
            piece = piece[1:]
            self._escaping = False
        if b"\\" in piece:
            # What is left of a run of backslashes, at most one, escapes what follows.
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
            self._escaping = piece.endswith(b"\\")
        parts = piece.split(b'"')
        outside = b"".join(parts[self._in_text :: 2])
        self._in_text = (self._in_text + len(parts) - 1) % 2
        self.found += outside.count(b",") + outside.count(b":") + outside.count(b"{") + outside.count(b"[")


def count_in(value: object) -> int | None:
    """A count of something: a whole number from 0 on, be it written as 12.0 or "12"; None for anything else."""
    if (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    return value if type(value) is int and 0 <= value < 10**_MOST_DIGITS else None
