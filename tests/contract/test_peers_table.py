"""The table of asks and incidents names tests that exist, and says of every row how far it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "peers.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| ([ASRK]\d+) \|", line)]
#: Number of a row -> the tests that show it.
TESTS = {
    number: re.findall(r"`(tests/[\w/]+\.py::\w+)`", listed)
    for number, listed in re.findall(r"^- ([ASRK]\d+)\n((?: {4}- .+\n)*)", TEXT, re.MULTILINE)
}
NAMED = sorted({name for names in TESTS.values() for name in names})


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_all_asks_and_incidents_have_a_row() -> None:
    keys = [cells(row)[0] for row in ROWS]
    assert keys[:15] == [f"A{number}" for number in range(1, 16)]
    assert [key for key in keys if key[0] == "S"] == [f"S{number}" for number in range(1, 13)]
    assert [key for key in keys if key[0] == "R"] == [f"R{number}" for number in range(1, 7)]
    assert [key for key in keys if key[0] == "K"] == [f"K{number}" for number in range(1, 17)]


def test_every_row_is_in_the_table_of_tests() -> None:
    assert list(TESTS) == [cells(row)[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: cells(row)[0])
def test_a_row_says_how_far_it_is(row: str) -> None:
    number, _, does, status = cells(row)
    assert does
    assert status in {"done", "partly", "not"}
    if status == "done":
        assert TESTS[number], "what is done has a test"


@pytest.mark.parametrize("named", NAMED)
def test_a_named_test_exists(named: str) -> None:
    path, name = named.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.startswith("test_")
    assert name in functions
