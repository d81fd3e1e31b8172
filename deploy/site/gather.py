"""Gather the pages of the documentation site: docs/ as it is, and whatever else of the repository its pages link to.

The same Markdown is read in the repository and on the site. There, a link to a file outside docs/ leads to a page that
shows the file. What comes out is plain: a folder of Markdown and a configuration, for whichever generator builds it.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Where files of the repository stand on the site.
SHOWN = "repository"
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(?=(?:#[^)\s]*)?\))")
_CODE = re.compile(r"(^(`{3,}).*?^\2[ \t]*$)", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml", ".sh": "bash", ".c": "c"}


class SiteError(Exception):
    """A page links to nothing, or has no place in the navigation."""


def main() -> None:
    """Gather the pages into the folder that is named, beside the configuration."""
    (folder,) = sys.argv[1:]
    try:
        gather(Path(folder))
    except SiteError as error:
        sys.exit(str(error))


def gather(folder: Path) -> None:
    """Write `pages/` and `mkdocs.yml` into a folder; what was there before is removed.

    Args:
        folder: Anywhere.

    Raises:
        SiteError: A page links to nothing, or has no place in the navigation.
    """
    pages = folder / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    shutil.copy(ROOT / "deploy/site/site.css", pages)
    pending = [page.relative_to(ROOT).as_posix() for page in sorted((ROOT / "docs").rglob("*.md"))]
    seen = set(pending)
    while pending:
        source = pending.pop()
        place = pages / _page_of(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        text, targets = _with_links_turned(source)
        place.write_text(text, encoding="utf-8")
        pending += [target for target in sorted(targets - seen) if not target.startswith("docs/")]
        seen |= targets
    configuration = (ROOT / "deploy/site/mkdocs.yaml").read_text(encoding="utf-8")
    configuration = "".join(_spelled_out(line) for line in configuration.splitlines(keepends=True))
    (folder / "mkdocs.yml").write_text(configuration, encoding="utf-8")
    named = set(re.findall(r": (\S+\.md)$|- (\S+\.md)$", configuration, re.MULTILINE))
    places = {one or other for one, other in named}
    here = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")}
    missing = {page for page in here if not page.startswith(f"{SHOWN}/")} - places
    if missing or places - here:
        raise SiteError(
            f"deploy/site/mkdocs.yaml: not in nav: {sorted(missing)}; in nav alone: {sorted(places - here)}"
        )


def _with_links_turned(source: str) -> tuple[str, set[str]]:
    """A page as the site has it, and the files of the repository that it links to.

    Args:
        source: The path of a file or folder from the root.
    """
    targets: set[str] = set()
    if not source.endswith(".md"):
        return _shown(source), targets

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not (ROOT / target).exists():
            raise SiteError(f"{source}: {match[1]} is not there")
        if target.startswith("docs/") and (ROOT / target).is_dir():
            target += "/README.md"
        targets.add(target)
        return posixpath.relpath(_page_of(target), posixpath.dirname(_page_of(source)) or ".")

    text = (ROOT / source).read_text(encoding="utf-8")
    return "".join(_pieces(text, turned)), targets


def _pieces(text: str, turned: Callable[[re.Match[str]], str]) -> Iterator[str]:
    """The text with its links turned, and its blocks of code as they are."""
    end = 0
    for block in _CODE.finditer(text):
        yield _LINK.sub(turned, text[end : block.start()])
        yield block[0]
        end = block.end()
    yield _LINK.sub(turned, text[end:])


def _page_of(target: str) -> str:
    """Where the site has a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{SHOWN}/{target}" if target.endswith(".md") else f"{SHOWN}/{target}.md"


def _shown(source: str) -> str:
    """A file or a folder of the repository as Markdown."""
    path = ROOT / source
    if path.is_dir():
        names = sorted(
            f"{one.name}/" if one.is_dir() else one.name for one in path.iterdir() if one.name[0] not in "._"
        )
        return "\n".join([f"# {source}/", "", *(f"- `{name}`" for name in names), ""])
    text = path.read_text(encoding="utf-8")
    return f"# {path.name}\n\n`{source}`\n\n`````{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n`````\n"


def _spelled_out(line: str) -> str:
    """A folder in the navigation stands for its README.md and every page beside it."""
    entry = re.fullmatch(r"( *)- (.+): (\w+/)\n", line)
    if entry is None:
        return line
    indent, title, folder = entry.groups()
    beside = sorted(page.name for page in (ROOT / "docs" / folder).glob("*.md") if page.name != "README.md")
    return f"{indent}- {title}:\n" + "".join(f"{indent}    - {folder}{name}\n" for name in ["README.md", *beside])


if __name__ == "__main__":
    main()
