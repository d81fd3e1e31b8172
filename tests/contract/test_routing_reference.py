"""The tables of caps, weights, rules and terms in the pages are those that the decision reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pointsman.gateway.cli.routing_reference import main, tables, with_tables

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]) if "<!-- table:" in page.read_text("utf-8")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == with_tables(text, tables()), (
        "run: python -m pointsman.gateway.cli.routing_reference README.md docs/*.md"
    )


def test_every_table_stands_in_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- table: ([a-z-]+) -->", text)) == set(tables())


def test_only_the_table_of_a_page_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: terms -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    assert CliRunner().invoke(main, [str(page)]).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("<!-- end of table -->\nafter\n")
    assert "old" not in text
    assert "| `quality` |" in text
