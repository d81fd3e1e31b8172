"""The private folder of one running gateway: sockets of what it started, and the workers' shared counters.

The process that creates it hands its path down through `POINTSMAN_RUNTIME_DIR` and removes it at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

ENV: Final = "POINTSMAN_RUNTIME_DIR"

#: A unix socket's address holds about a hundred bytes; names inside the folder need some of them.
_LONGEST_FOLDER: Final = 70
#: Where folders with short names can be made, when the usual place has a long one or is open to others.
_SHORT: Final = ("/tmp", "/var/tmp")  # noqa: S108  # short on purpose
#: Of a folder's name as mkdtemp makes it, with the slash before it.
_NAME_BYTES: Final = 19


@contextlib.contextmanager
def runtime_dir() -> Iterator[Path]:
    """The folder, created with mode 0700 and set in the environment for the time of the context.

    A folder that is already named in the environment is used and left standing: it belongs to who named it. Nobody else
    may write there: whoever can puts a socket of his own in the place of ours, and hears every request.

    Raises:
        OSError: No folder can be made, or the one that is named is not ours alone.
    """
    given = os.environ.get(ENV)
    if given:
        folder = Path(given)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (problem := _not_ours_alone(folder)) is not None:
            raise PermissionError(problem)
        yield folder
        return
    folder = _make()
    os.environ[ENV] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop(ENV, None)
        shutil.rmtree(folder, ignore_errors=True)


def _not_ours_alone(folder: Path) -> str | None:
    """Why others may write into a folder; None where they may not."""
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder"
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} may be written by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700"
    return None


def _make() -> Path:
    places = [Path(place) for place in (tempfile.gettempdir(), *_SHORT) if os.access(place, os.W_OK)]
    short = [place for place in places if len(os.fsencode(place)) + _NAME_BYTES <= _LONGEST_FOLDER] or places
    chosen = next((place for place in short if _stays_ours(place)), None)
    # mkdtemp gives mode 0700 and a name nobody can guess.
    folder = Path(tempfile.mkdtemp(prefix="pointsman-", dir=chosen or next(iter(short), None)))
    if chosen is None:
        # As in a container, where a volume is open to all and nobody else is there.
        _log.warning("whoever may write to %s can replace the folder of our sockets; set %s", folder.parent, ENV)
    return folder


def _stays_ours(parent: Path) -> bool:
    """Whether nobody else can rename or remove what is ours in a folder."""
    found = parent.stat()
    if found.st_uid not in (0, os.geteuid()):
        return False
    return not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(found.st_mode & stat.S_ISVTX)
