"""deploy/site: the generated pages are current, every page has its place, and links lead to the same in both places."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SITE = ROOT / "deploy" / "site"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)


def test_the_reference_and_the_pictures_are_what_the_code_says() -> None:
    ran = run(SITE / "reference.py", "--check")
    assert ran.returncode == 0, ran.stderr


def test_every_page_is_in_the_navigation(tmp_path: Path) -> None:
    ran = run(SITE / "gather.py", str(tmp_path / "site"))
    assert ran.returncode == 0, ran.stderr
    links = [
        (page, target)
        for page in (tmp_path / "site" / "pages").rglob("*.md")
        for target in re.findall(
            r"\]\((?![a-z]+:|#)([^)\s#]+)", re.sub(r"(?ms)^`{3,}.*?^`{3,}", "", page.read_text("utf-8"))
        )
    ]
    assert len(links) > 100
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []


def test_nothing_comes_from_elsewhere() -> None:
    for name in ("mkdocs.yaml", "site.css"):
        assert "//" not in (SITE / name).read_text("utf-8")
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert set(re.findall(r"https?://[^\"]+", picture.read_text("utf-8"))) == {"http://www.w3.org/2000/svg"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a site of its own."""
    (tmp_path / "deploy/site").mkdir(parents=True)
    for name in ("gather.py", "site.css"):
        shutil.copy(SITE / name, tmp_path / "deploy/site")
    (tmp_path / "docs/notes").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    texts = {
        "deploy/site/mkdocs.yaml": "nav:\n  - Start: index.md\n  - Notes: notes/\n",
        "docs/index.md": "[why](notes/README.md) [how](../code/a.py) [all](../CONTRIBUTING.md#first)\n"
        "\n```\n[x](no.md)\n```\n",
        "docs/notes/README.md": "[start](../index.md) [the folder](../../code) [it](.)\n",
        "docs/notes/one.md": "[web](https://example.org) [here](#one)\n",
        "CONTRIBUTING.md": "## First\n\n[pages](docs/index.md) [notes](docs/notes/)\n",
        "code/a.py": "x = '[not a link](nowhere)'\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def gathered(repository: Path) -> Path:
    ran = run(repository / "deploy/site/gather.py", str(repository / "site"))
    assert ran.returncode == 0, ran.stderr
    return repository / "site" / "pages"


def test_a_link_to_a_file_outside_leads_to_a_page_that_shows_it(repository: Path) -> None:
    pages = gathered(repository)
    assert pages.joinpath("index.md").read_text("utf-8").splitlines() == [
        "[why](notes/README.md) [how](repository/code/a.py.md) [all](repository/CONTRIBUTING.md#first)",
        "",
        "```",
        "[x](no.md)",
        "```",
    ]
    assert "x = '[not a link](nowhere)'" in pages.joinpath("repository/code/a.py.md").read_text("utf-8")
    assert "- `a.py`" in pages.joinpath("repository/code.md").read_text("utf-8")


def test_pages_of_the_root_link_back(repository: Path) -> None:
    text = gathered(repository).joinpath("repository/CONTRIBUTING.md").read_text("utf-8")
    assert "[pages](../index.md) [notes](../notes/README.md)" in text


def test_a_folder_in_the_navigation_stands_for_its_pages(repository: Path) -> None:
    gathered(repository)
    written = repository.joinpath("site/mkdocs.yml").read_text("utf-8")
    assert written == "nav:\n  - Start: index.md\n  - Notes:\n      - notes/README.md\n      - notes/one.md\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("docs/index.md", "[x](../gone.py)\n", "docs/index.md: ../gone.py is not there"),
        ("docs/other.md", "# Other\n", "not in nav: ['other.md']"),
        ("deploy/site/mkdocs.yaml", "nav:\n  - a.md\n  - index.md\n  - N: notes/\n", "in nav alone: ['a.md']"),
    ],
)
def test_what_leads_nowhere_fails(repository: Path, name: str, text: str, message: str) -> None:
    (repository / name).write_text(text, "utf-8")
    ran = run(repository / "deploy/site/gather.py", str(repository / "site"))
    assert ran.returncode == 1
    assert message in ran.stderr
