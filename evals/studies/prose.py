"""Markdown with its prose in lines of readable length, so that a changed word is a changed line.

`python -m pointsman.evals.studies.prose FILE...` wraps files where they are.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WIDTH: Final = 120
#: In place of a space at which no line may end.
_KEPT: Final = "\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}"
_ITEM: Final = re.compile(r" *(?:[-*+]|\d+[.)]) +")
_NOT_PROSE: Final = re.compile(r"#|\||<|>|!\[| {4}|\t|\[[^\]]+\]: ")
#: What would begin something else at the start of a line.
_MARK: Final = re.compile(r" (?=(?:[-*+=#>|]+|\d+[.)])(?: |$))")


def wrapped(markdown: str) -> str:
    """The same text, every paragraph and item that has a line over 120 columns wrapped again. Tables and code stay."""
    pieces = re.split(r"(^ {0,3}(`{3,}).*?^ {0,3}\2[ \t]*$)", markdown, flags=re.MULTILINE | re.DOTALL)
    # Of each block of code the split gives the block and its fence.
    return "".join(
        piece if number % 3 == 1 else "\n".join(_lines(piece)) for number, piece in enumerate(pieces) if number % 3 != 2
    )


def _lines(text: str) -> Iterator[str]:
    paragraph: list[str] = []
    for line in text.split("\n"):
        goes_on = bool(paragraph) and bool(line.strip()) and not _ITEM.match(line)
        if goes_on and (not _NOT_PROSE.match(line) or _ITEM.match(paragraph[0])) and line.strip()[0] != "|":
            paragraph.append(line)
            continue
        yield from _paragraph(paragraph)
        paragraph = []
        if line.strip() and not _NOT_PROSE.match(line):
            paragraph = [line]
        else:
            yield line
    yield from _paragraph(paragraph)


def _paragraph(lines: list[str]) -> list[str]:
    # Two spaces or a backslash at the end of a line end it on purpose.
    if all(len(line) <= WIDTH for line in lines) or any(line.endswith(("  ", "\\")) for line in lines):
        return lines
    item = _ITEM.match(lines[0])
    head = item[0] if item else ""
    text = " ".join(line.strip() for line in lines)[len(head.lstrip()) :]
    text = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", _KEPT), text)
    filled = textwrap.wrap(
        _MARK.sub(_KEPT, text),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT, " ") for line in filled]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(wrapped(Path(name).read_text("utf-8")), "utf-8")
