"""evals/studies/prose.py: long lines of prose are wrapped, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.evals.studies.prose import WIDTH, wrapped

ROOT = Path(__file__).parents[3]
LONG = "word " * 40


def test_a_long_paragraph_becomes_several_lines() -> None:
    lines = wrapped(f"# Title\n\n{LONG.strip()}\n\nshort\n").split("\n")
    assert lines[:2] == ["# Title", ""]
    assert lines[-3:] == ["", "short", ""]
    assert all(len(line) <= WIDTH for line in lines)
    assert len(lines) == 7


def test_an_item_goes_on_below_its_text() -> None:
    assert wrapped(f"- {LONG}\n- b").split("\n")[1:] == ["  " + "word " * 16 + "word", "- b"]


@pytest.mark.parametrize(
    "text",
    [
        f"| {LONG} | {LONG} |",
        f"```text\n{LONG}\n```",
        f"````\n```\n{LONG}\n````",
        f"    {LONG}",
        f"# {LONG}",
        f"first line  \n{LONG}",
        f"<https://example.org/{'x' * 200}>",
        "a\nb",
        f"- item\n    - {'x' * 130}\n    - nested",
        f"- item\n\n  ```\n  {LONG}\n  ```",
    ],
)
def test_what_is_no_prose_stays(text: str) -> None:
    assert wrapped(text) == text


def test_code_is_not_broken_and_no_line_begins_as_something_else() -> None:
    words = "x" * (WIDTH - 3)
    assert wrapped(f"{words} `two words` and more").split("\n")[1].startswith("`two words`")
    for mark in ("-", "+", "1.", "#", "|", ">"):
        assert not wrapped(f"{words} a {mark} b").split("\n")[1].startswith(mark)


def test_wrapping_again_changes_nothing_and_no_word_is_lost() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = page.read_text("utf-8")
        assert wrapped(wrapped(text)) == wrapped(text), page
        assert wrapped(text).split() == text.split(), page
