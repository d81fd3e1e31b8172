"""The command as an operator runs it, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """`pointsman serve --port 0` with further options until the block ends: its URL and process id."""
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pointsman.gateway.cli", "serve", "--port", "0", *options],
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
        try:
            deadline = time.monotonic() + 60
            while (found := re.search(r" at (http://\S+)", log.read_text("utf-8"))) is None:
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.05)
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(30)
