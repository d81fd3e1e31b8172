"""docs/clients.md: every block of Python and of shell runs as it stands, against a gateway."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import pool_of_fakes
from tests.e2e.served import ROOT, served

PAGE = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    able = ["chat", "completions", "streaming", "tools", "vision", "json_schema"]
    experts = [{**expert, "capabilities": able} for expert in pool_of_fakes()]
    (folder / "config.yaml").write_text(json.dumps({"pool": {"experts": experts}}), encoding="utf-8")
    with served(folder, "--config", str(folder / "config.yaml")) as (url, _):
        yield url


def test_there_are_blocks_for_every_client() -> None:
    python = "".join(code for language, code in BLOCKS if language == "python")
    for client in ("from openai", "import anthropic", "ChatPointsman(", "ChatOpenAI(", "litellm.completion("):
        assert client in python


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_the_block_runs(language: str, code: str, url: str) -> None:
    assert ADDRESS in code
    code = code.replace(ADDRESS, url)
    if language == "sh":
        ran = subprocess.run(["bash", "-ec", code], capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(ran.stdout)["choices"][0]["message"]["content"].endswith("What is 17 + 25?")
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/clients.md", "exec"), {"__name__": "block"})  # noqa: S102
    said = printed.getvalue()
    assert said.strip()
    if "get_weather" in code:
        assert "'place': 'What is the weather in Rome?'" in said
        assert "422 budget_infeasible routing.max_cost_usd dec_" in said
    elif "Order" in code:
        assert "pieces=12" in said
    else:
        assert "fake-code" in said
