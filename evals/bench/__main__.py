"""`python -m pointsman.evals.bench`: what the gateway costs, beside the peers that are installed, in one run.

The server under measurement has one core; wrk and the upstream (nginx with a fixed answer) share the other. Every case
runs in every round, one after the other, so that a slow moment of the machine hits all alike; the median over rounds is
reported, with processor time per request beside throughput. Figures include HTTP on both sides, parsing, deciding,
accounting and proxying, and exclude the expert.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import orjson
import uvloop

from pointsman.evals.bench import beside, curves, rig, wrk
from pointsman.evals.bench.page import show, write_page
from pointsman.evals.bench.profile import ProfileError, profile
from pointsman.evals.bench.results import Results
from pointsman.evals.bench.run import BenchSettings

#: What each run measures, and what only the page wants, once.
_EVERY_RUN: Final = {"requests": beside.throughput, "pieces": beside.pieces}
_ONCE: Final = {"profile": profile, "curves": curves.curves, "streams": curves.many_streams}
_PARTS: Final = {**_EVERY_RUN, **_ONCE}


async def _measure(run: BenchSettings, parts: Iterable[str], soak: int) -> Results:
    results = Results(seconds=run.seconds, rounds=run.rounds, connections=run.connections)
    with run.progress:
        for part in parts:
            try:
                await _PARTS[part](run, results)
            except ProfileError as error:  # the rest is worth having without it
                click.echo(f"No profile: {error}", err=True)
        if soak:
            await curves.soak(run, results, soak)
    return results


def _read(path: Path) -> list[Results]:
    return [Results.read(found) for found in orjson.loads(path.read_bytes())]


def _write(path: Path, runs: Sequence[Results]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    path.write_bytes(orjson.dumps([asdict(results) for results in runs], option=options))


def _check_programs() -> None:
    for program, there in (("wrk", wrk.installed()), ("nginx", rig.nginx_installed())):
        if not there:
            raise click.ClickException(
                f"{program} is not installed; on Debian and Ubuntu: apt-get install wrk nginx-light"
            )


@click.command()
@click.option("--seconds", default=2.0, show_default=True, help="Length of each measurement.")
@click.option("--rounds", default=5, show_default=True, help="How often each case is measured; the median is shown.")
@click.option("--connections", default=32, show_default=True, help="Connections of the load generator.")
@click.option("--quick", is_flag=True, help="One round.")
@click.option("--runs", default=1, show_default=True, help="How many whole runs in a row; 0 only rewrites the page.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(_PARTS)),
    help="What to measure  [requests, pieces; with --page all]",
)
@click.option("--soak", default=0, metavar="REQUESTS", help="In the last run, send so many and watch the memory.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page into this folder.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures, after each run.")
@click.option("--earlier", type=click.Path(path_type=Path, exists=True), help="Figures of runs before (--json).")
def main(
    seconds: float,
    rounds: int,
    connections: int,
    quick: bool,
    runs: int,
    only: tuple[str, ...],
    soak: int,
    page: Path | None,
    json_path: Path | None,
    earlier: Path | None,
) -> None:
    """Measure the gateway's own overhead on this machine, beside its peers."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise click.ClickException("the server and the load generator need a core each")
    _check_programs()
    done = _read(earlier) if earlier is not None else []
    os.sched_setaffinity(0, [cores[-1]])
    for number in range(1, runs + 1):
        began_s = time.perf_counter()
        last = number == runs
        with tempfile.TemporaryDirectory() as folder:
            # nginx's worker may be another user, who has to reach its folders.
            Path(folder).chmod(0o755)
            run = BenchSettings(cores[0], cores[-1], seconds, 1 if quick else rounds, connections, Path(folder))
            parts = only or (_PARTS if last and page is not None else _EVERY_RUN)
            done.append(uvloop.run(_measure(run, parts, soak if last else 0)))
        show(done[-1], done)
        click.echo(f"Run {number} of {runs} took {(time.perf_counter() - began_s) / 60:.1f} min.")
        if json_path is not None:
            _write(json_path, done)
    if page is not None and done:
        write_page(done, page)


if __name__ == "__main__":
    main()
