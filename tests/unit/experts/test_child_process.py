"""Child processes end when they are told to, when they do not listen, and with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from pointsman.experts.child_process import Backoff, ChildProcess

_SLEEP = "import time; time.sleep(60)"
_PARENT = f"""
import os, sys, time
from pointsman.experts.child_process import ChildProcess
print(ChildProcess([sys.executable, "-c", {_SLEEP!r}]).pid, flush=True)
time.sleep(60)
"""


def _ends_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # An orphan that nobody waits for stays as a zombie where the first process of the machine does not reap.
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_stops_on_request() -> None:
    child = ChildProcess([sys.executable, "-c", _SLEEP])
    assert child.exit_code is None
    child.stop(10.0)
    assert child.exit_code == -15
    child.stop(10.0)


def test_one_that_does_not_listen_is_killed() -> None:
    child = ChildProcess(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    time.sleep(0.5)
    child.stop(0.2)
    assert child.exit_code == -9


def test_it_ends_with_its_parent_even_if_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert _ends_within(child, 5.0)


def test_each_death_is_followed_by_a_longer_wait_until_it_ran_well() -> None:
    backoff = Backoff(first_s=1.0, longest_s=5.0, settled_s=10.0)
    assert [backoff.after(0.0) for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    assert backoff.after(11.0) == 1.0
    assert backoff.after(0.0) == 2.0
