"""The private folder of one running gateway: sockets of what it started, and the workers' shared counters.

The process that creates it hands its path down through `POINTSMAN_RUNTIME_DIR` and removes it at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENV: Final = "POINTSMAN_RUNTIME_DIR"

#: A unix socket's address holds about a hundred bytes; names inside the folder need some of them.
_LONGEST_FOLDER: Final = 70


@contextlib.contextmanager
def runtime_dir() -> Iterator[Path]:
    """The folder, created with mode 0700 and set in the environment for the time of the context.

    A folder that is already named in the environment is used and left standing: it belongs to who named it.

    Raises:
        OSError: No folder can be made.
    """
    given = os.environ.get(ENV)
    if given:
        folder = Path(given)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
        return
    folder = _make()
    os.environ[ENV] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop(ENV, None)
        shutil.rmtree(folder, ignore_errors=True)


def _make() -> Path:
    # mkdtemp gives mode 0700 and a name nobody can guess.
    folder = tempfile.mkdtemp(prefix="pointsman-")
    if len(os.fsencode(folder)) > _LONGEST_FOLDER and Path("/tmp").is_dir():  # noqa: S108  # short on purpose
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="pointsman-", dir="/tmp")
    return Path(folder)
