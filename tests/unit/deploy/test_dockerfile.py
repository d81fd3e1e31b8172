"""deploy/Dockerfile: the linter has nothing to say, and what it copies and runs exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def copied() -> list[str]:
    """What is copied from the build context."""
    lines = [line.split()[1:-1] for line in TEXT.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [source for sources in lines for source in sources]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (its wheel exists for Linux)")
    linted = subprocess.run(
        [hadolint, ROOT / "deploy" / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert linted.returncode == 0, linted.stdout


def test_what_is_copied_exists_and_enters_the_context() -> None:
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source
    assert set(allowed) == set(copied())


def test_every_package_of_the_wheel_is_copied() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) < set(copied())
    assert PROJECT["project"]["readme"] in copied()


def test_the_extras_exist() -> None:
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", TEXT, re.MULTILINE)
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_the_image_does_not_run_as_root_and_says_when_it_is_ill() -> None:
    last_stage = TEXT[TEXT.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)
    assert int(user[0]) > 0
    assert int(user[1]) > 0
    assert "HEALTHCHECK" in last_stage
    assert "/health" in last_stage


def test_the_command_is_one_that_pointsman_knows() -> None:
    from pointsman.gateway.cli import main

    (command,) = re.findall(r"^CMD \[(.*)\]$", TEXT, re.MULTILINE)
    verb, *options = [word.strip(' "') for word in command.split(",")]
    shown = CliRunner().invoke(main, [verb, "--help"])
    assert shown.exit_code == 0
    for option in options:
        if option.startswith("--"):
            assert option in shown.output
