"""The decision is pure: it imports no clock, no randomness and no wire, and reads nothing."""

import ast
from pathlib import Path

import pytest

ROUTERS = Path(__file__).parents[3] / "routers"
IMPURE = {"time", "random", "secrets", "uuid", "socket", "asyncio", "http", "urllib", "threading", "subprocess", "os"}
#: Files that may read: the artefact is read once, before any decision.
READERS = {"artifacts.py"}

SOURCES = [file for file in sorted(ROUTERS.rglob("*.py")) if "training" not in file.parts]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROUTERS)))
def test_no_clock_no_dice_no_wire(file: Path):
    tree = ast.parse(file.read_text("utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "input", "print", "eval", "exec"} or file.name in READERS
        elif isinstance(node, ast.Attribute) and file.name not in READERS:
            assert node.attr not in {
                "read_text",
                "read_bytes",
                "write_text",
                "write_bytes",
                "default_rng",
                "now",
                "today",
            }
    assert not imported & IMPURE
