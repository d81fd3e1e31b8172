"""A page read from its top to its end by somebody who does what it says, in one terminal.

All blocks of a page become one script for bash: files are written, commands run, snippets of Python run. What serves
until it is stopped goes to the background and ends when something else takes its port, as a reader would stop it.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.docs.blocks import Block

#: A URL of an expert or of the gateway, and a port that a command is to listen on.
_ADDRESS = re.compile(r"http://(?P<host>[\w.-]+):(?P<port>\d{2,5})")
_PORT = re.compile(r"(?P<option>--port|port:|POINTSMAN_PORT=)(?P<gap> ?)(?P<port>\d{4,5})")
_SERVES = re.compile(
    r"(?:[A-Z_]+=\S+ )*"
    r"(?:make run|\.venv/bin/pointsman serve|\.venv/bin/python -m pointsman\.experts\.backends\.fake)\b"
)

_PRELUDE = r"""
set -euo pipefail
shopt -s expand_aliases
declare -A serves
# A refusal is a failure, for whoever runs the page.
curl() { command curl --fail-with-body --max-time 60 "$@"; }
stop() {
  if [[ -n "${serves[$1]:-}" ]]; then kill "${serves[$1]}" 2>/dev/null || true; wait "${serves[$1]}" || true; fi
}
trap 'for port in "${!serves[@]}"; do stop "$port"; done' EXIT
# Whether what serves at a port is ready, which its log says.
ready() {
  for _ in $(seq 600); do
    if grep -qE " at http://|listening on " "$2"; then return; fi
    if ! kill -0 "$1" 2>/dev/null; then break; fi
    sleep 0.05
  done
  cat "$2" >&2; return 1
}
said() { if ! grep -qF -- "$1" <<<"$output"; then printf 'not printed: %s\n%s\n' "$1" "$output" >&2; return 1; fi; }
"""


class Ports:
    """A port of this machine for every address that a page names, so that pages do not meet.

    Args:
        stand_in: The port of a server that stands in for `HOST:PORT`.
        served: Ports on which the page's own commands serve.
    """

    def __init__(self, stand_in: Callable[[str], int], served: Iterable[str] = ()) -> None:
        self._stand_in = stand_in
        self._served = {*served}
        self._free: dict[str, int] = {}

    def of(self, port: str) -> int:
        """A free port, always the same for the one named."""
        if port not in self._free:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self._free[port] = int(listener.getsockname()[1])
        return self._free[port]

    def here(self, text: str) -> str:
        """Settings, commands or code with these ports in place of those that they name."""

        def address(match: re.Match[str]) -> str:
            ours = match["host"] in ("127.0.0.1", "localhost") and match["port"] in self._served
            port = self.of(match["port"]) if ours else self._stand_in(f"{match['host']}:{match['port']}")
            return f"http://127.0.0.1:{port}"

        text = _ADDRESS.sub(address, text)
        return _PORT.sub(lambda match: f"{match['option']}{match['gap']}{self.of(match['port'])}", text)


def served(blocks: Iterable[Block]) -> set[str]:
    """The ports on which the commands of a page serve."""
    found = set()
    for block in blocks:
        for line in _lines(block.text) if block.kind == "sh" and not block.mark else ():
            if _SERVES.match(line):
                named = _PORT.search(line)
                found.add(named["port"] if named else "8080")
    return found


def script(blocks: Iterable[Block], ports: Ports) -> str:
    """The page as a script."""
    parts = [_PRELUDE, f"export POINTSMAN_PORT={ports.of('8080')}"]
    for block in blocks:
        if block.mark:
            continue
        text = ports.here(block.text)
        if block.kind == "yaml" and block.file:
            parts.append(f"cat > {block.file} <<'END-OF-FILE'\n{text}END-OF-FILE")
        elif block.kind == "python":
            parts.append(f"{_at(block)}\n.venv/bin/python - <<'END-OF-CODE'\n{text}END-OF-CODE")
        elif block.kind == "sh":
            parts += [_at(block), *map(_in_background(ports), _lines(text))]
        elif block.kind == "console":
            parts += [_at(block), *_with_output(text)]
    return "\n".join(parts) + "\n"


def _at(block: Block) -> str:
    return f"echo {shlex.quote(f'--- {block.place}')} >&2"


def _lines(text: str) -> list[str]:
    """Lines, continued ones joined."""
    return text.replace("\\\n", " ").splitlines()


def _in_background(ports: Ports) -> Callable[[str], str]:
    def moved(line: str) -> str:
        if not _SERVES.match(line):
            return line
        command = re.sub(r"\s*(&\s*)?(#.*)?$", "", line)
        named = re.search(r"--port (\d+)", command)
        port = int(named[1]) if named else ports.of("8080")
        log = f"serves-{port}.log"
        # Numbered anew each time, so that a log of the one before is not taken for this one's.
        return f"stop {port}; : > {log}\n{command} > {log} 2>&1 &\nserves[{port}]=$!; ready $! {log}"

    return moved


def _with_output(text: str) -> list[str]:
    parts = []
    for line in _lines(text):
        if line.startswith("$ "):
            # What it prints is what is looked at: a check that finds something ends with 1.
            parts.append(f"output=$( {{ {line[2:]}; }} 2>&1 || true )")
        elif line.strip():
            parts.append(f"said {shlex.quote(line)}")
    return parts


def walk(page: Sequence[Block], folder: Path, stand_in: Callable[[str], int]) -> str:
    """Do what a page says, in this folder, and hear what that prints.

    Args:
        page: Its blocks.
        folder: A checkout.
        stand_in: The port of a server that stands in for `HOST:PORT`.

    Raises:
        AssertionError: A command failed; with what it said.
    """
    path = folder / "page.sh"
    # The admin listener of settings is the gateway's, wherever the commands name it.
    path.write_text(script(page, Ports(stand_in, {*served(page), "8081"})), encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    # Nothing may be fetched, as in every other test.
    environment = {**kept, "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "COLUMNS": "120"}
    with (folder / "said.log").open("w") as output:
        done = subprocess.run(
            ["bash", str(path)], cwd=folder, env=environment, stdout=output, stderr=output, timeout=240, check=False
        )
    said = (folder / "said.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, said[-6000:]
    return said
