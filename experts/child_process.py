"""Child processes: start, stop, restart, and the guarantee that they end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 1.0


class Backoff:
    """How long to wait before a process that died is started again: twice as long each time, until it runs well.

    Args:
        first_s: After the first death.
        longest_s: At the most.
        settled_s: A process that ran for longer than this ran well.
    """

    def __init__(self, *, first_s: float, longest_s: float, settled_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._settled_s = settled_s
        self._next_s = first_s

    def after(self, ran_s: float) -> float:
        """Seconds to wait after a process that ran for `ran_s` seconds."""
        wait_s = self._first_s if ran_s > self._settled_s else self._next_s
        self._next_s = min(2 * wait_s, self._longest_s)
        return wait_s


class ChildProcess:
    """A program that runs for this process, in a session of its own: Ctrl-C does not reach it.

    Args:
        command: Program and arguments.
        quiet: Whether what it writes to stderr is dropped; else it goes where ours goes.

    Raises:
        OSError: It cannot be started.
        subprocess.SubprocessError: Likewise.
    """

    def __init__(self, command: Sequence[str], *, quiet: bool = False) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            start_new_session=True,
            preexec_fn=_before_exec(),
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it ends.

        Returns:
            Its exit code.
        """
        return self._process.wait()

    def stop(self, within_s: float) -> None:
        """End it: asked to, and killed if it still runs after `within_s` seconds. Idempotent."""
        if self.exit_code is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _before_exec() -> Callable[[], None] | None:
    """What a child does between fork and exec so that it ends with the thread that started it; Linux only."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: the child of a process with threads should do as little as possible.
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def end_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)

    return end_with_parent


def watch_parent(parent: int) -> None:
    """End this process when `parent` ends. For a child of our own, on systems that do not do this by themselves."""
    if os.getppid() != parent:
        os._exit(0)
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
