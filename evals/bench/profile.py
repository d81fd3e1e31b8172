"""Where the serving thread's time goes, by parts of the gateway, as py-spy samples it under load.

A sample belongs to the innermost of its frames that a row of `PARTS` knows: what a library does is its caller's. The
rows go by pieces of file names, so that they outlive moves of code. What is left is the event loop's own.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pointsman.evals.bench import rig, wrk
from pointsman.evals.bench.processes import Process
from pointsman.evals.bench.results import Results
from pointsman.evals.bench.run import FRESH, HELD, NAMED, BenchSettings

_PER_S = 250
_SETTLE_S = 0.5
#: For the settling, and for py-spy to read symbols before it samples.
_SPARE_S = 4.0

_WRITES: Final = frozenset({"write", "writev", "send", "sendto", "sendmsg", "__send", "__libc_write"})
_READS: Final = frozenset(
    {"read", "readv", "recv", "recvfrom", "recvmsg", "__recv", "__libc_read", "epoll_wait", "epoll_pwait", "epoll_ctl"}
)
_KERNEL_WRITE, _KERNEL_READ, _LOOP = "kernel: writes", "kernel: reads and waits", "event loop"
_ELSEWHERE = "other threads, and Redis itself"

#: Beginnings of the file names from which everything else is called.
_OUTER: Final = ("asyncio/", "uvicorn/_compat", "uvicorn/server", "gateway/server", "gateway/cli/", "gateway/worker")
#: Part -> pieces of the file names that belong to it. The first row that fits decides.
PARTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Redis: what is told and asked", ("redis", "shared_", "lease", "session")),
    ("record: counts, decisions' ledger, evidence", (
        "recorder", "telemetry", "ledger", "gathered", "gateway/evidence", "learning", "prometheus", "gateway/ids",
        "experts/flight", "experts/health", "experts/pool", "estimators/live", "estimators/online",
    )),
    ("assess: features, embedding, classes", (
        "assess", "embed", "classifiers/", "safety", "routers/conversation", "null_experts", "tokenizers",
    )),
    ("select: estimates, filters, scores", (
        "routers/", "deciding", "decision_memory", "holding", "engine", "eligibility", "exploration",
    )),
    ("bodies: read, checked, written anew", ("gateway/wire/", "question", "answer", "whole_reply", "outbound")),
    ("HTTP of the expert", ("experts/",)),
    ("HTTP of the client", ("http_protocol", "gateway/http", "httptools", "uvicorn/")),
    ("exchange: from one to the other", ("gateway/",)),
)  # fmt: skip

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")


class ProfileError(RuntimeError):
    """py-spy is not there, or saw nothing."""


def _py_spy() -> str:
    """The sampler, on PATH or beside this Python."""
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if found is None:
        raise ProfileError("py-spy is not installed")
    return found


def part_of(stack: str) -> str:
    """To which part one sampled stack belongs.

    Args:
        stack: Frames from the outermost on, with semicolons between them, as py-spy's raw format has them.
    """
    frames = [found for frame in stack.split(";") if (found := _FRAME.match(frame)) is not None]
    if frames and frames[-1]["file"].startswith(("libc", "libpthread")):
        if frames[-1]["function"] in _WRITES:
            return _KERNEL_WRITE
        if frames[-1]["function"] in _READS:
            return _KERNEL_READ
    for file in (frame["file"] for frame in reversed(frames)):
        if file.startswith(_OUTER):
            continue
        for part, names in PARTS:
            if any(name in file for name in names):
                return part
    return _LOOP


def shares(raw: Iterable[str]) -> dict[str, float]:
    """Part -> its share of the serving thread's samples.

    Args:
        raw: Lines of py-spy's raw format with `--threads --native`.

    Raises:
        ProfileError: There is no sample of the main thread.
    """
    counts: Counter[str] = Counter()
    for line in raw:
        stack, _, count = line.rpartition(" ")
        if "MainThread" in stack.split(";", 1)[0]:
            counts[part_of(stack)] += int(count)
    if not counts:
        raise ProfileError("no sample of the main thread")
    return {part: count / counts.total() for part, count in counts.most_common()}


async def profile(run: BenchSettings, results: Results) -> None:
    """Sample the gateway under each load; the shares become microseconds of processor time per request.

    Raises:
        ProfileError: py-spy is not there, or failed.
    """
    sampler = _py_spy()
    loads = {"named model": NAMED, "auto, decision held": HELD, "auto, fresh prompt": FRESH}
    task = run.progress.add_task("Profile", total=len(loads))
    async with (
        rig.instant_upstream(run.folder, run.other_core) as upstream,
        rig.gateway(run.folder, upstream.url, run.server_core) as ours,
    ):
        for name, body in loads.items():
            # By itself first: the sampler stops the process each time it looks.
            before_ns = wrk.thread_ns(ours.pid)
            load = await run.load(ours, body, run.seconds)
            main_us = (wrk.thread_ns(ours.pid) - before_ns) / 1e3 / load.requests
            found = await _sampled(run, sampler, ours, body)
            parts = {part: share * main_us for part, share in found.items()}
            results.profile[name] = parts | {_ELSEWHERE: max(0.0, load.cpu_us - main_us)}
            run.progress.advance(task)


async def _sampled(run: BenchSettings, sampler: str, ours: Process, body: str) -> dict[str, float]:
    """Part -> share."""
    seconds = max(5, round(run.seconds))
    load = asyncio.create_task(run.load(ours, body, seconds + _SPARE_S))
    await asyncio.sleep(_SETTLE_S)
    path = run.folder / "profile.raw"
    child = await asyncio.create_subprocess_exec(
        sampler, "record", "--pid", str(ours.pid), "--duration", str(seconds), "--rate", str(_PER_S),
        "--format", "raw", "--native", "--threads", "--output", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await child.communicate()
    await load
    if child.returncode:
        raise ProfileError(f"py-spy failed: {output.decode(errors='replace')}")
    return shares(path.read_text("utf-8", "replace").splitlines())
