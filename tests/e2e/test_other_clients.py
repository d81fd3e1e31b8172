"""The blocks of docs/other-clients.md, each run against a gateway where its package is installed.

`POINTSMAN_CLIENTS_PYTHON` names an interpreter that has the packages, where this one has not: none of them is a
dependency of ours.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.served import ROOT, served

PAGE = (ROOT / "docs" / "other-clients.md").read_text(encoding="utf-8")
PYTHON = os.environ.get("POINTSMAN_CLIENTS_PYTHON", sys.executable)
#: Heading -> module.
PYTHON_CLIENTS = {"pydantic-ai": "pydantic_ai", "openai-agents": "agents", "inspect": "inspect_ai"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a gateway with able fakes answers."""
    config = str(ROOT / "deploy" / "examples" / "fakes.yaml")
    with served(tmp_path_factory.mktemp("gateway"), "--config", config) as (url, _):
        yield url


def block(heading: str, kind: str) -> str:
    """The first block of a kind below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{heading} has no block of {kind}"
    return found[1]


def needs(module: str) -> None:
    """Skip, and say so, where a module is not installed."""
    looked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if subprocess.run([PYTHON, "-c", looked], check=False).returncode:
        pytest.skip(f"needs {module} (in {PYTHON})")


def at(text: str, url: str) -> str:
    """A block that speaks to the gateway of this test."""
    assert "http://127.0.0.1:8080" in text
    return text.replace("http://127.0.0.1:8080", url)


@pytest.mark.parametrize("heading", PYTHON_CLIENTS)
def test_a_python_client_gets_its_answer(heading: str, url: str, tmp_path: Path) -> None:
    program = at(block(heading, "python"), url)
    compile(program, heading, "exec")
    needs(PYTHON_CLIENTS[heading])
    env = {**os.environ, "HOME": str(tmp_path)}
    ran = subprocess.run([PYTHON, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "answer to:" in ran.stdout


def test_llm_gets_its_answer(url: str, tmp_path: Path) -> None:
    settings, command = at(block("llm", "yaml"), url), block("llm", "sh")
    needs("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(settings, encoding="utf-8")
    env = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    program, *arguments = shlex.split(command)
    assert program == "llm"
    told = [PYTHON, "-m", "llm", *arguments]
    ran = subprocess.run(told, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "answer to:" in ran.stdout
