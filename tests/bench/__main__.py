"""`make bench`: what the gateway itself costs on this machine, against the same upstream asked directly.

Everything runs here, so client, gateway and upstream share the cores: compare the two columns, not the figures of two
machines.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from experts.http1.client import Client, Limits, Origin

PROMPTS = (
    "Write a Python function that reverses a list in place.",
    "A train leaves at 9:40 and arrives at 12:05. How long does it take?",
    "Does aspirin lower the risk of stroke after a transient ischaemic attack?",
    "Speak, friend: what news from the castle this night?",
    "Suggest three names for a quiet cat.",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one load saw."""

    latencies_ms: list[float]
    overheads_ms: list[float]
    seconds: float

    def quantile_ms(self, share: float) -> float:
        return sorted(self.latencies_ms)[int(share * (len(self.latencies_ms) - 1))]

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds


@contextmanager
def process(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and its URL as its first line states it."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert server.stdout is not None
            yield server, url_in(server.stdout, log)
        finally:
            server.terminate()
            server.wait(timeout=30)


def url_in(output: IO[str], log: IO[str]) -> str:
    line = output.readline()
    found = [word for word in line.split() if word.startswith("http://")]
    if not found:
        log.seek(0)
        raise click.ClickException(f"a server did not start:\n{line}{log.read()}")
    return found[0]


def settings(upstream: str) -> dict[str, object]:
    experts = [
        {
            "name": name,
            "backend": "openai_http",
            "base_url": upstream,
            "generalist": name == "general",
            "known_as": f"nano-{name}",
            "latency": {"base_ms": 5, "prefill_ms_per_token": 0.1, "tpot_ms": 2},
            "energy": {"base_j": 0.1, "j_per_prompt_token": 0.001, "j_per_completion_token": 0.01},
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
            "max_concurrency": 1000,
        }
        for name in ("code", "math", "clinical", "prose", "general")
    ]
    return {"pool": {"experts": experts, "probe_interval_s": 0}}


async def load(url: str, *, concurrency: int, seconds: float, distinct: bool, stream: bool) -> Run:
    """Ask as fast as answers come, `concurrency` at a time."""
    client = Client(Origin.parse(url), limits=Limits(max_connections=concurrency))
    prepared = client.prepare("POST", "/v1/chat/completions", ((b"content-type", b"application/json"),))
    latencies: list[float] = []
    overheads: list[float] = []
    asked = 0
    end = time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal asked
        while time.perf_counter() < end:
            # A number makes a prompt one that no cache has seen.
            prompt = PROMPTS[asked % len(PROMPTS)] + (f" ({asked})" if distinct else "")
            asked += 1
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "stream": stream}
            began = time.perf_counter()
            response = await client.request(prepared, body=json.dumps(body).encode())
            told = await response.read()
            latencies.append((time.perf_counter() - began) * 1e3)
            if response.status != 200:
                raise click.ClickException(f"status {response.status}: {told[:300]!r}")
            overheads.extend(float(value) for name, value in response.headers if name == b"x-pointsman-overhead-ms")

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(concurrency)))
    took = time.perf_counter() - began
    await client.aclose()
    return Run(latencies, overheads, took)


def resident_mb(pid: int) -> float | None:
    """Resident memory, None where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@click.command()
@click.option("--seconds", default=4.0, show_default=True, help="Seconds per measurement; there are ten.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here.")
def bench(seconds: float, json_file: Path | None) -> None:
    """Measure latency and throughput, directly and through the gateway."""
    console = Console()
    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
        title=f"ms per request; one upstream that answers at once; {os.cpu_count()} cores for everything",
        caption="direct, through: median without and with the gateway. own share: its x-pointsman-overhead-ms, median.",
    )
    for heading in ("load", "direct", "through", "p99", "own share", "direct/s", "through/s"):
        table.add_column(heading, justify="left" if heading == "load" else "right", no_wrap=True)
    rows = []
    with (
        process("experts.backends.fake", "--port", "0", "--completion-tokens", "16") as (_, upstream),
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "bench.yaml"
        file.write_text(yaml.safe_dump(settings(upstream)), encoding="utf-8")
        began = time.perf_counter()
        with process("gateway.cli", "serve", "--config", str(file), "--port", "0") as (gateway, url):
            ready_s = time.perf_counter() - began
            asyncio.run(load(url, concurrency=8, seconds=0.5, distinct=True, stream=False))
            for label, concurrency, distinct, stream in (
                ("1 at a time, known", 1, False, False),
                ("1 at a time, new", 1, True, False),
                ("1 at a time, streamed", 1, True, True),
                ("32 at a time, known", 32, False, False),
                ("32 at a time, new", 32, True, False),
            ):
                kind = {"concurrency": concurrency, "distinct": distinct, "stream": stream}
                direct = asyncio.run(load(upstream, seconds=seconds, **kind))
                through = asyncio.run(load(url, seconds=seconds, **kind))
                row = {
                    "load": label,
                    "direct_p50_ms": direct.quantile_ms(0.5),
                    "through_p50_ms": through.quantile_ms(0.5),
                    "through_p99_ms": through.quantile_ms(0.99),
                    "own_share_p50_ms": statistics.median(through.overheads_ms),
                    "direct_per_s": direct.per_second,
                    "through_per_s": through.per_second,
                }
                rows.append(row)
                table.add_row(
                    label,
                    *(
                        f"{row[key]:.2f}"
                        for key in ("direct_p50_ms", "through_p50_ms", "through_p99_ms", "own_share_p50_ms")
                    ),
                    *(f"{row[key]:.0f}" for key in ("direct_per_s", "through_per_s")),
                )
            memory_mb = resident_mb(gateway.pid)
    console.print(table)
    console.print(f"ready {ready_s:.2f} s after its start")
    if memory_mb is not None:
        console.print(f"{memory_mb:.0f} MB resident after the last load")
    if json_file is not None:
        figures = {"rows": rows, "ready_s": ready_s, "resident_mb": memory_mb, "cores": os.cpu_count()}
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    bench()
