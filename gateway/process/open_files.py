"""How many files and connections this process may have open."""

from __future__ import annotations

import contextlib
import resource


def raise_open_files_limit() -> int:
    """Raise the limit on open files to the most that the system lets a process raise it to by itself.

    A connection of a client and one to its expert are two files; the usual limit of 1024 is that of programs that wait
    for files in an older way than this one does.

    Returns:
        The limit from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
