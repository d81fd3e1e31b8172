"""`pointsman eval-grid`: many evaluations at once."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click


@click.command("eval-grid")
@click.option(
    "--table",
    "tables",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a table. Repeatable.",
)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True, help="Repeatable.")
@click.option("--router", "routers", multiple=True, metavar="ARTEFACT", help="As of `pointsman eval`.")
@click.option("--beside", multiple=True, metavar="ROUTER", help="As of `pointsman eval`.")
@click.option(
    "--protocol",
    type=click.Choice(["split", "resplit", "lodo", "loco"]),
    default="split",
    show_default=True,
    help="As of `pointsman eval`; `resplit` with --seed 42, 999, 2024, 2025, 3407 is LLMRouterBench's way.",
)
@click.option("--bootstrap", default=1000, show_default=True, type=click.IntRange(min=0), help="Resamples.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the reports.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(min=1), help="On this machine.")
@click.option("--ray", metavar="ADDRESS", help="Run on this Ray cluster: `auto`, `local`, or HOST:PORT.")
def evaluate_grid(
    tables: tuple[Path, ...],
    seeds: tuple[int, ...],
    routers: tuple[str, ...],
    beside: tuple[str, ...],
    protocol: str,
    bootstrap: int,
    out: Path,
    processes: int,
    ray: str | None,
) -> None:
    """Evaluate every table with every seed; one JSON report of each.

    \b
    Example:
      pointsman eval-grid --table data/a --table data/b --seed 42 --seed 999 --ray auto --out reports
    """  # noqa: D301 (click's mark against rewrapping)
    from pointsman.evals.errors import EvalError
    from pointsman.evals.grid import run_grid
    from pointsman.evals.parallel import Workers
    from pointsman.evals.protocols.division import Protocol
    from pointsman.evals.session import EvalOptions
    from pointsman.evals.spread import spreads
    from pointsman.routers.errors import RouterError

    folders = [table.resolve() for table in tables]
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    like = EvalOptions(
        table=folders[0],
        routers=routers,
        resamples=bootstrap,
        beside=beside,
        protocol=Protocol(protocol),
        command=command,
    )
    try:
        done = run_grid(
            like,
            folders,
            seeds,
            out,
            Workers(processes, ray),
            told=lambda one: click.echo(f"{one.table}, seed {one.seed}: {out / f'{one.table}-{one.seed}.json'}"),
        )
    except (EvalError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    if len(seeds) > 1:
        click.echo(f"Mean and standard deviation over {len(seeds)} seeds:")
        for one in spreads([each.report for each in done], ("quality", "quality_minus_best_single")):
            click.echo(f"  {one.table}  {one.name}  {one.measure}  {one.mean:.4f} ± {one.deviation:.4f}")
