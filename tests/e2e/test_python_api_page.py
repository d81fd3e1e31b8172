"""docs/python-api.md: every block is a doctest, run in order in one namespace, the last ones against a gateway."""

from __future__ import annotations

import doctest
import json
import re
import shutil
from pathlib import Path

import pytest

import pointsman
from tests.e2e.running import pool_of_fakes
from tests.e2e.served import ROOT, served

PAGE = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```pycon\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"


def test_every_block_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples/data/nano", tmp_path / "examples/data/nano")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(json.dumps({"pool": {"experts": pool_of_fakes()}}), encoding="utf-8")
    said: list[str] = []
    with served(tmp_path, "--config", str(tmp_path / "config.yaml")) as (url, _):
        text = "\n".join(BLOCKS).replace(ADDRESS, url)
        examples = doctest.DocTestParser().get_doctest(text, {}, "python-api.md", "docs/python-api.md", 0)
        results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)
    assert results.attempted > 30
    assert results.failed == 0, "".join(said)


def test_every_name_of_the_api_stands_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    assert [name for name in pointsman.__all__ if name not in words] == []


def test_the_page_imports_from_nowhere_else() -> None:
    assert set(re.findall(r"(?:from|import) (pointsman[\w.]*)", "".join(BLOCKS))) == {"pointsman"}
