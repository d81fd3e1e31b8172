"""Compiles the kernel of the static embedder into the package, where there is a C compiler.

Without one (or without Python's headers) the package is installed as it is: numpy does the same, more slowly.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# By the import name: a source distribution has no folder `routers` at its root.
_SOURCE = Path("pointsman/routers/embed/_kernel.c")
_BUILT = _SOURCE.with_name("_kernel.abi3.so")


class KernelHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Runs for wheels and for editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel that holds what was compiled says for which platform it is."""
        if self.target_name != "wheel" or not _compiled(Path(self.root), self.app.display_warning):
            return
        build_data["artifacts"].append(f"/{_BUILT}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp311-abi3-{platform}"


def _compiled(root: Path, warn: Any) -> bool:
    built, fresh = root / _BUILT, root / _BUILT.with_suffix(".new")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    # No fused operations: a vector is to be the same on every processor.
    flags = ["-O3", "-ffp-contract=off", "-fPIC", "-shared", "-Wall"]
    if sys.platform == "darwin":
        flags += ["-undefined", "dynamic_lookup"]
    command = [*compiler, *flags, f"-I{sysconfig.get_paths()['include']}", str(root / _SOURCE), "-o", str(fresh), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own)
        failure = done.stderr[-2000:] if done.returncode else None
    except OSError as error:
        failure = str(error)
    if failure is not None:
        built.unlink(missing_ok=True)  # of an earlier source
        warn(f"the kernel is not compiled, and decisions take longer without it: {failure}")
        return False
    # In one step: a process that has the old one open keeps it.
    fresh.replace(built)
    return True
