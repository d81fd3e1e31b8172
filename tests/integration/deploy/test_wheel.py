"""The wheel on its own, in an environment that knows nothing else: what the container image installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("gateway", "routers", "experts", "evals")

pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("pointsman-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and its `embedded` extra, as in deploy/Dockerfile."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", f"{wheel}[embedded]")
    return folder / "bin"


def test_every_data_file_of_the_packages_ships(wheel: Path) -> None:
    listed = run("git", "ls-files", "--", *PACKAGES, cwd=ROOT).splitlines()
    assert any(name.endswith("default.yaml") for name in listed)
    assert any(name.startswith("routers/default_artifact/") for name in listed)
    assert any(name.startswith("experts/nano/") and name.endswith(".safetensors") for name in listed)
    missing = {name for name in listed if (ROOT / name).is_file()} - set(zipfile.ZipFile(wheel).namelist())
    assert missing == set()


def test_the_wheel_holds_the_packages_and_the_licence_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {*PACKAGES, info}
    assert f"{info}/licenses/LICENSE" in names


def test_nothing_heavy_is_installed(installed: Path) -> None:
    found = {package["name"].lower() for package in json.loads(run(installed / "pip", "list", "--format", "json"))}
    assert "pointsman" in found
    assert not found & {"torch", "scikit-learn", "scipy", "litellm", "transformers", "pandas", "pyarrow", "matplotlib"}


def test_check_config_accepts_the_files_that_ship(installed: Path, tmp_path: Path) -> None:
    for file in (ROOT / "gateway" / "default.yaml", ROOT / "deploy" / "compose" / "pointsman.yaml"):
        assert "OK" in run(installed / "pointsman", "check-config", file, cwd=tmp_path)


def test_a_decision_is_made_with_the_artefact_that_ships(installed: Path, tmp_path: Path) -> None:
    told = run(
        installed / "pointsman", "route", "Write a Python function that reverses a linked list.", "--json", cwd=tmp_path
    )
    decision = json.loads(told)
    assert decision["expert"] == "nano-code"


@pytest.fixture
def url(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The gateway served as the container does it: settings from a file, no checkout in sight."""
    log = tmp_path / "log"
    settings = tmp_path / "config.yaml"
    settings.write_text((ROOT / "deploy" / "compose" / "pointsman.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [installed / "pointsman", "serve", "--config", settings, "--host", "127.0.0.1", "--port", "0"]
    env = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "REDIS_URL"}}
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=output, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert " at http://" in first, first + log.read_text(encoding="utf-8")
            yield first.split(" at ")[1].split()[0]
        finally:
            process.terminate()
        assert process.wait(timeout=40) == 0


def test_an_embedded_expert_answers(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
    question = "A train travels 60 miles in 1.5 hours. What is its speed?"
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": question}], max_tokens=8, temperature=0
    )
    told = raw.parse()
    assert told.model == raw.headers["x-pointsman-expert"] == "nano-math"
    assert told.usage is not None
    assert 0 < told.usage.completion_tokens <= 8


def test_the_version_is_that_of_the_project(installed: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert run(installed / "pointsman", "--version").split()[-1] == version
