"""Load from wrk (Debian package `wrk`), which one core of C drives several times faster than any gateway answers."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pointsman.evals.bench.raw_http import PATH

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}

#: `FRESH` stands in a body where every request is to differ.
FRESH = "@FRESH@"

_SCRIPT = """
local file = io.open("{body}")
local body = file:read("*a")
file:close()
local head, tail = body:match("^(.*){fresh}(.*)$")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = body
{headers}
if head then
  local salt = "{salt}"
  local count = 0
  request = function()
    count = count + 1
    return wrk.format(nil, nil, nil, head .. salt .. " " .. count .. tail)
  end
end
"""


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What a run of wrk saw.

    Attributes:
        requests: Answered, well or not.
        failed: Answered with a status of 400 or more, or not at all.
        per_s: Answered requests per second.
        p50_ms: Median latency.
        p99_ms: 99th percentile.
        cpu_us: Processor time of the server and its children per request in microseconds, as the scheduler counts.
    """

    requests: int
    failed: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def installed() -> bool:
    """Whether wrk is there."""
    return shutil.which("wrk") is not None


async def drive(
    url: str,
    body: str,
    *,
    salt: str,
    seconds: float,
    connections: int,
    core: int,
    pid: int,
    folder: Path,
    headers: Mapping[str, str] | None = None,
) -> WrkResult:
    """Send one body again and again, each connection one request after the other.

    Args:
        url: Server, without path.
        body: JSON; `FRESH` in it becomes `salt` and a number that grows with every request.
        salt: Tells runs apart.
        seconds: How long, in whole seconds.
        connections: How many.
        core: Where wrk runs.
        pid: The server's process, whose processor time is counted.
        folder: For the script.
        headers: Sent with every request.

    Raises:
        RuntimeError: wrk failed.
    """
    (folder / "body.json").write_text(body, "utf-8")
    script = folder / "load.lua"
    more = (headers or {}).items()
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in more)
    text = _SCRIPT.format(body=folder / "body.json", fresh=FRESH, salt=salt, headers=lines)
    script.write_text(text, "utf-8")
    before_ns = cpu_ns(pid)
    child = await asyncio.create_subprocess_exec(
        "taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--latency",
        "-s", str(script), url + PATH,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"wrk failed: {output.decode(errors='replace')}")
    return read(output.decode(), cpu_ns(pid) - before_ns)


def read(output: str, cpu_ns: int) -> WrkResult:
    """What wrk printed.

    Args:
        output: With `--latency`.
        cpu_ns: Processor time of the server meanwhile.

    Raises:
        ValueError: It is not wrk's.
    """
    requests = int(_found(r"(\d+) requests in", output))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return WrkResult(
        requests,
        failed,
        float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        _latency_ms("50%", output),
        _latency_ms("99%", output),
        cpu_ns / 1e3 / requests if requests else float("nan"),
    )


def cpu_ns(pid: int) -> int:
    """Processor time so far of all threads of a process and of its children, such as nginx's worker or a Redis."""
    total = 0
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0  # a child that has ended meanwhile
    for task in tasks:
        try:
            total += int((task / "schedstat").read_text("ascii").split()[0])
            children = (task / "children").read_text("ascii").split()
        except OSError:
            continue  # the thread has ended meanwhile
        total += sum(cpu_ns(int(child)) for child in children)
    return total


def thread_ns(pid: int) -> int:
    """Processor time so far of a process's main thread alone."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0])


def _latency_ms(percent: str, output: str) -> float:
    found = re.search(rf"\s{percent}\s+([\d.]+)(us|ms|s|m)\b", output)
    if found is None:
        raise ValueError(f"no {percent} in {output!r}")
    return float(found[1]) * _UNITS_MS[found[2]]


def _found(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        raise ValueError(f"no {pattern} in {output!r}")
    return found[1]
