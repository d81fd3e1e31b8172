"""`docs/add-a-metric.md`, walked: one function added to a copy of the sources, and every reader sees the metric."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def _snippet(root: Path) -> str:
    page = (root / "docs" / "add-a-metric.md").read_text(encoding="utf-8")
    assert "`evals/metrics/definitions/`" in page
    assert "here `choices.py`" in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(code)


@pytest.fixture
def sources(root: Path, tmp_path: Path) -> Path:
    """The sources with the page's function added to one file; what is not `evals/` stays where it is."""
    package = tmp_path / "sources" / "pointsman"
    package.mkdir(parents=True)
    shutil.copy(root / "pointsman" / "__init__.py", package)
    for name in ("gateway", "routers", "experts"):
        (package / name).symlink_to(root / name)
    shutil.copytree(root / "evals", package / "evals", ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "evals/metrics/definitions/choices.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{_snippet(root)}")
    return package.parent


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """40 prompts; `dear` is right on all of them, `cheap` on every other one for a quarter of the price."""
    folder = tmp_path / "table"
    folder.mkdir()
    prompts = {
        "prompt_id": [f"p{i}" for i in range(40)],
        "prompt": [f"question {i} about thing {i * 7}" for i in range(40)],
        "category": ["all"] * 40,
        "split": ["train", "train", "test", "test"] * 10,
    }
    outcomes = {
        "prompt_id": [f"p{i}" for i in range(40) for _ in range(2)],
        "model": ["cheap", "dear"] * 40,
        "score": [score for i in range(40) for score in (float(i % 2), 1.0)],
        "cost_usd": [0.001, 0.004] * 40,
        "prompt_tokens": [8] * 80,
        "completion_tokens": [10] * 80,
    }
    pq.write_table(pa.table(prompts), folder / "prompts.parquet")
    pq.write_table(pa.table(outcomes), folder / "outcomes.parquet")
    return folder


def test_one_function_is_a_metric_everywhere(sources: Path, table: Path, tmp_path: Path) -> None:
    def pointsman(*arguments: object) -> str:
        code = f"import sys; sys.path.insert(0, {str(sources)!r}); from pointsman.gateway.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "250"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    files = ("--json", tmp_path / "report.json", "--html", tmp_path / "report.html")
    terminal = pointsman("eval", "--table", table, "--router", "best_single", *files, "--bootstrap", 50)
    rows = {row["name"]: row for row in json.loads((tmp_path / "report.json").read_text())["routers"]}
    # Always `dear`: on every other prompt the cheap one is as good. Always `cheap`: nobody is cheaper.
    assert rows["best_single"]["metrics"]["overpaid"] == pytest.approx(0.5)
    low, high = rows["best_single"]["intervals"]["overpaid"]
    assert low < 0.5 < high
    assert rows["cheapest"]["metrics"]["overpaid"] == 0
    assert rows["zero_router"]["metrics"]["overpaid"] is None, "it picks nobody: not scored, and not 0"
    assert "overpaid" not in rows["zero_router"]["intervals"]

    header = next(line for line in terminal.splitlines() if "Δ best single" in line)
    cheapest = next(line for line in terminal.splitlines() if line.split()[:1] == ["cheapest"])
    cells = dict(zip(*(re.split(r" {2,}", line.strip()) for line in (header, cheapest)), strict=True))
    assert cells["overpaid"] == "0.0%"
    definition = "Share of the prompts on which a cheaper expert scored at least as high as the pick."
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'<th title="{definition}">overpaid ↓</th>' in page
    assert f"<dt>overpaid</dt><dd>{definition}</dd>" in page
    assert f"| `overpaid` | overpaid | % | lower | {definition} |" in pointsman("eval", "--metrics")
    schema = json.loads(pointsman("eval", "--schema"))
    assert schema["$defs"]["RouterRow"]["properties"]["metrics"]["properties"]["overpaid"]["description"] == definition
