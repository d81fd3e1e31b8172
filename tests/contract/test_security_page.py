"""Every promise of docs/security.md names tests, and these exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
_TEST = re.compile(r"`(tests/[^`:\s]+\.py)(?:::([A-Za-z0-9_]+))?`")


def promises() -> Iterator[str]:
    """The rows of the tables whose last column is for tests."""
    told = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            told = False
        elif cells[-1] == "test":
            told = True
        elif told and set(line) - set("|- :"):
            yield line


def test_there_are_promises() -> None:
    assert len(list(promises())) >= 20


@pytest.mark.parametrize("row", list(promises()), ids=lambda row: re.sub(r"[^a-z]+", "-", row.lower())[:60])
def test_a_promise_names_tests_that_exist(row: str) -> None:
    named = _TEST.findall(row.strip().strip("|").split("|")[-1])
    assert named, row
    for file, function in named:
        path = ROOT / file
        assert path.is_file(), file
        text = path.read_text("utf-8")
        wanted = function or "test_"
        assert re.search(rf"^(?:async )?def {wanted}", text, re.MULTILINE), (file, function)


def test_every_test_that_the_page_names_exists() -> None:
    for file, function in _TEST.findall(PAGE):
        assert (ROOT / file).is_file(), file
        assert not function or f"def {function}(" in (ROOT / file).read_text("utf-8"), function
