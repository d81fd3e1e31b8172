"""The source distribution: a wheel built from it is that of the checkout, and the editable install agrees with both."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from tests.integration.deploy.built import PROJECT, ROOT, build_wheel, run

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

#: The hook compiles it; a machine without a C compiler has none.
KERNEL = "pointsman/routers/embed/_kernel.abi3.so"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", "import sys, hatchling.build as b; b.build_sdist(sys.argv[1])", folder, cwd=ROOT)
    (built,) = folder.glob("pointsman-*.tar.gz")
    return built


def contents(wheel: Path) -> dict[str, int]:
    """Name of each file -> checksum of its content."""
    return {file.filename: file.CRC for file in zipfile.ZipFile(wheel).infolist()}


def test_the_wheel_of_the_source_distribution_is_that_of_the_checkout(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = build_wheel(source, tmp_path)
    assert again.name == wheel.name
    ours, theirs = contents(wheel), contents(again)
    assert ours.keys() == theirs.keys()
    # A compiler may write the folder it worked in into what it compiles.
    assert [name for name in ours if ours[name] != theirs[name] and name != KERNEL] == []


def test_the_source_distribution_holds_what_is_installed_and_what_builds_it(sdist: Path, wheel: Path) -> None:
    with tarfile.open(sdist) as packed:
        members = packed.getmembers()
    assert [file.name for file in members if not file.isfile()] == []
    names = {file.name.split("/", 1)[1] for file in members}
    installed = {name for name in contents(wheel) if name.startswith("pointsman/")} - {KERNEL}
    assert {name for name in names if name.startswith("pointsman/")} == installed
    assert names - installed == {
        *("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "NOTICE", "PKG-INFO", ".gitignore"),
    }


def test_the_editable_install_agrees_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    installed = distribution("pointsman")
    stated = {(point.group, point.name, point.value) for point in installed.entry_points}
    zipfile.ZipFile(wheel).extractall(tmp_path)  # noqa: S202 (our own)
    (info,) = tmp_path.glob("*.dist-info")
    packed = Distribution.at(info)
    assert packed.version == installed.version == PROJECT["project"]["version"]
    assert {(point.group, point.name, point.value) for point in packed.entry_points} == stated
    assert sorted(packed.requires or ()) == sorted(installed.requires or ())
    # Every module of the wheel is importable here from the checkout, under the same name and with the same text.
    modules = [name for name in contents(wheel) if name.endswith(".py")]
    assert len(modules) > 300
    assert [name for name in modules if (ROOT / name).read_bytes() != (tmp_path / name).read_bytes()] == []
