"""The wheel, and a place where others have the names of our folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deploy.built import PACKAGES, ROOT, build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this checkout."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def taken_names(tmp_path: Path) -> dict[str, Any]:
    """A working directory, first on the path of imports, whose packages have the names of our folders and refuse."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        refusal = f"raise ImportError('somebody else has the name {name}')\n"
        (tmp_path / name / "__init__.py").write_text(refusal, encoding="utf-8")
    return {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path), "PEPPER": "salt " * 8}}
