"""A folder as its reader has it: the checkout's files, and an environment with what `make run` installs and no more.

Nothing is fetched. Packages are linked from the environment that runs the tests, by what their metadata require, so
that a page which needs more than it installs fails here as it does at its reader's.
"""

from __future__ import annotations

import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
#: Files that a page may name; what it writes goes elsewhere in the folder.
_LINKED = (
    "Makefile",
    "README.md",
    "deploy",
    "docs",
    "evals",
    "examples",
    "experts",
    "gateway",
    "hatch_build.py",
    "helm",
)
_LINKED += ("pointsman", "pyproject.toml", "routers")
#: What `make run` installs.
RUN = "pointsman[embedded]"


def checkout(folder: Path) -> None:
    """Lay out the checkout there, as it is after the first `make run`."""
    for name in _LINKED:
        (folder / name).symlink_to(ROOT / name)
    environment = folder / ".venv"
    venv.create(environment, symlinks=True, with_pip=False)
    install(environment, [RUN])
    (environment / ".stamp-run").touch()
    pip = environment / "bin/pip"
    pip.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.docs.environment "$0" "$@"\n')
    pip.chmod(0o755)


def install(environment: Path, requirements: Iterable[str]) -> None:
    """Link what these requirements need into an environment."""
    (site,) = environment.glob("lib/python*/site-packages")
    for name in sorted(needed(requirements)):
        if name == "pointsman":
            _install_ours(environment, site)
            continue
        for file in metadata.distribution(name).files or ():
            top = file.parts[0]
            link = site / top
            if top not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(metadata.distribution(name).locate_file(top))


def needed(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that requirements ask for, with all that those ask for.

    Raises:
        metadata.PackageNotFoundError: The environment of the tests has none of that name.
    """
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.add(name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            waiting += [
                below
                for below in map(Requirement, _requires(name))
                if below.marker is None or below.marker.evaluate({"extra": extra})
            ]
    return found


def _requires(name: str) -> list[str]:
    if name != "pointsman":
        return metadata.distribution(name).requires or []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        for text in requirements:
            one, _, marker = text.partition(";")
            asked.append(f"{one}; extra == '{extra}'" + (f" and ({marker.strip()})" if marker else ""))
    return asked


def _install_ours(environment: Path, site: Path) -> None:
    if (site / "pointsman.pth").exists():
        return
    (site / "pointsman.pth").write_text(f"{environment.parent}\n")
    information = Path(str(metadata.distribution("pointsman").locate_file("")))
    for folder in information.glob("pointsman-*.dist-info"):
        (site / folder.name).symlink_to(folder)
    command = environment / "bin/pointsman"
    begin = 'from pointsman.gateway.cli import main\n\nif __name__ == "__main__":\n    main()\n'
    command.write_text(f"#!{environment}/bin/python\n{begin}")
    command.chmod(0o755)


def _pip(arguments: list[str]) -> None:
    """`pip install REQUIREMENT...`, where `-e .` or `-e '.[extra]'` is the checkout.

    Raises:
        SystemExit: It is another command of pip's.
    """
    called, verb, *rest = arguments
    if verb != "install":
        raise SystemExit(f"only `pip install` is known here, not `pip {verb}`")
    wanted = [f"pointsman{one[1:]}" if one.startswith(".") else one for one in rest if one not in ("-e", "-q")]
    install(Path(called).absolute().parents[1], wanted)


if __name__ == "__main__":
    _pip(sys.argv[1:])
