"""The blocks of code in the pages, and what a comment before one says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Pages whose text is ours; results and the reference are written by programs.
PAGES = tuple(
    page
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
    if page.parent.name not in ("results", "reference")
)
SHELL = ("sh", "console")

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<kind>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARKS = re.compile(r"(?P<name>not run here|not settings|fragment): (?P<said>.+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        page: The page, as a path from the root.
        line: Where it begins.
        kind: `yaml`, `sh`, `console` (commands after `$`, and what they print), `python`, or something else.
        text: What stands in it.
        mark: What the comment before it is: `not run here`, `not settings` or `fragment`; empty without one.
        said: What follows in that comment: the reason, or where in the settings a fragment belongs.
    """

    page: str
    line: int
    kind: str
    text: str
    mark: str
    said: str

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name that the first line of a settings file gives it."""
        named = re.match(r"# ([\w-]+\.yaml)\b", self.text)
        return named[1] if named else None


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """Those of one page, in its order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARKS.fullmatch(match["mark"] or "")
        line = text.count("\n", 0, match.start("kind")) + 1
        name = str(page.relative_to(ROOT))
        parts = ("", "") if mark is None else (mark["name"], mark["said"])
        found.append(Block(name, line, match["kind"], match["text"], *parts))
    return tuple(found)


def all_blocks() -> list[Block]:
    """Those of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def whole_files() -> list[Block]:
    """The settings files that come along, as if they stood in a page."""
    files = [*sorted((ROOT / "deploy/examples").glob("*.yaml")), ROOT / "examples/data/pool.yaml"]
    return [Block(str(file.relative_to(ROOT)), 1, "yaml", file.read_text(encoding="utf-8"), "", "") for file in files]
