"""`python -m tests.fuzz`: the targets under coverage guidance (atheris, libFuzzer), each in a process of its own."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.seeds import SEEDS, WORDS

#: No input may take longer: a second is a thousand times what the slowest should.
_HANG_S = 2
_MEMORY_MB = 1024


def main() -> int:
    """Run them all; the status is that of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *SEEDS], help="all, where none is named")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (%(default)s)")
    asked = parser.parse_args()
    targets = asked.targets or list(SEEDS)
    for name in targets:
        began_s = time.monotonic()
        failed = fuzz(name, -(-asked.inputs // len(targets)), asked.seed)
        print(f"{name}: {'FAILED' if failed else 'nothing found'} after {time.monotonic() - began_s:.0f} s", flush=True)  # noqa: T201  # what the command is for
        if failed:
            return 1
    return 0


def fuzz(name: str, inputs: int, seed: int) -> bool:
    """Run one target; whether it failed. What made it fail stays in the working directory, as libFuzzer says."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for index, data in enumerate(SEEDS[name]):
            (corpus / f"seed-{index}").write_bytes(data)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS), "ascii")
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), f"-dict={words}", f"-runs={inputs}"]
        command += [f"-seed={seed}", "-max_len=2048", f"-timeout={_HANG_S}", f"-rss_limit_mb={_MEMORY_MB}"]
        ran = subprocess.run(
            command, stdout=sys.stdout, stderr=subprocess.PIPE, text=True, errors="replace", check=False
        )
    done = re.findall(r"^(?:Done .*|#\d+\s+DONE .*)$", ran.stderr, re.MULTILINE)
    print("\n".join(done) if ran.returncode == 0 else ran.stderr[-6000:], flush=True)  # noqa: T201  # likewise
    return ran.returncode != 0 or not done


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
