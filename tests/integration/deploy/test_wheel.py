"""The wheel on its own, in an environment that knows nothing else: what the container image installs."""

from __future__ import annotations

import json
import os
import subprocess
import venv
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import openai
import pytest

from tests.integration.deploy.built import PACKAGES, PROJECT, ROOT, run

COMMANDS: dict[str, str] = PROJECT["project"]["entry-points"]["pointsman.commands"]

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the lock of the `embedded` extra and the wheel, as in deploy/Dockerfile."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--require-hashes", "-r", ROOT / "deploy/locks/embedded.txt")
    run(*pip, "--no-deps", wheel)
    run(folder / "bin" / "pip", "check")
    return folder / "bin"


def test_every_data_file_of_the_packages_ships(wheel: Path) -> None:
    left_out = tuple(PROJECT["tool"]["hatch"]["build"]["exclude"])
    tracked = [f"pointsman/{name}" for name in run("git", "ls-files", "--", *PACKAGES, cwd=ROOT).splitlines()]
    listed = [name for name in tracked if not name.startswith(left_out)]
    assert any(name.endswith("default.yaml") for name in listed)
    assert any(name.startswith("pointsman/routers/default_artifact/") for name in listed)
    assert any(name.startswith("pointsman/experts/nano/") and name.endswith(".safetensors") for name in listed)
    missing = {name for name in listed if (ROOT / name).is_file()} - set(zipfile.ZipFile(wheel).namelist())
    assert missing == set()
    shipped = zipfile.ZipFile(wheel).namelist()
    assert [name for name in shipped if name.startswith(left_out)] == []


def test_the_wheel_holds_the_packages_and_the_licence_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {"pointsman", info}
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


@pytest.mark.parametrize("name", PACKAGES)
def test_the_names_of_our_folders_are_free_for_others(installed: Path, taken_names: dict[str, Any], name: str) -> None:
    done = subprocess.run(
        [installed / "python", "-c", f"import {name}"], capture_output=True, text=True, check=False, **taken_names
    )
    assert f"ImportError: somebody else has the name {name}" in done.stderr


def every_command() -> Iterator[list[str]]:
    """The arguments that reach each command, and each command below one."""
    for name, place in COMMANDS.items():
        module, attribute = place.split(":")
        command = getattr(import_module(module), attribute)
        yield [name]
        if isinstance(command, click.Group):
            yield from ([name, below] for below in command.commands)


@pytest.mark.parametrize("arguments", list(every_command()), ids=" ".join)
def test_every_command_is_found_under_the_one_import_name(
    installed: Path, taken_names: dict[str, Any], arguments: list[str]
) -> None:
    told = run(installed / "pointsman", *arguments, "--help", **taken_names)
    assert f"Usage: pointsman {' '.join(arguments)} " in told
    # A command whose module cannot be imported would take any arguments, and have no option of its own.
    assert "[ARGUMENTS]..." not in told


@pytest.mark.parametrize("way", [["pointsman"], ["python", "-m", "pointsman"]], ids=" ".join)
def test_commands_do_their_work_where_others_have_the_names_of_our_folders(
    installed: Path, taken_names: dict[str, Any], way: list[str]
) -> None:
    program = [installed / way[0], *way[1:]]
    listed = run(*program, "--help", **taken_names)
    assert [name for name in COMMANDS if f"  {name} " not in listed] == []
    assert "not available" not in listed
    assert "OK" in run(*program, "check-config", ROOT / "deploy" / "compose" / "pointsman.yaml", **taken_names)
    assert json.loads(run(*program, "config-schema", **taken_names))["title"] == "Pointsman settings"
    assert json.loads(run(*program, "route", "What is 17 + 25?", "--json", **taken_names))["expert"]
    key = run(*program, "keys", "new", "shop", "--pepper-env", "PEPPER", **taken_names)
    hashed = run(*program, "keys", "hash", "--pepper-env", "PEPPER", input=key, **taken_names).strip()
    assert hashed
    assert hashed not in key
    # The same key has the same hash, and another key has another.
    assert run(*program, "keys", "hash", "--pepper-env", "PEPPER", input=key, **taken_names).strip() == hashed
    assert run(*program, "keys", "hash", "--pepper-env", "PEPPER", input="x" + key, **taken_names).strip() != hashed


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
    assert run(installed / "pointsman", "--version").split()[-1] == PROJECT["project"]["version"]
