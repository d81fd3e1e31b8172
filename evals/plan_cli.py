"""`pointsman plan`: which experts to keep awake, who serves what, and what another budget would buy."""

from __future__ import annotations

import time
from math import inf
from pathlib import Path

import click

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("plan")
@click.option(
    "--table",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with prompts.parquet and outcomes.parquet: how good the experts are, and at what.",
)
@click.option(
    "--pool",
    "pool_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML of the experts with their sizes, latency and energy; a gateway's configuration will do.",
)
@click.option("--split", default="train", show_default=True, help="Prompts that stand for the traffic.")
@click.option(
    "--router",
    metavar="ARTEFACT",
    help="Take each prompt's predicted quality from this router. Default: the mean of its category.",
)
@click.option("--max-energy-j", type=click.FloatRange(0), help="Cap on the worst case of one request, in joules.")
@click.option(
    "--max-latency-ms",
    multiple=True,
    metavar="[CATEGORY=]MS",
    help="Cap on the worst-case latency, for all categories or for one. Repeatable.",
)
@click.option("--resident-b", type=click.FloatRange(0), help="Billions of parameters that can be resident together.")
@click.option("--active-b", type=click.FloatRange(0), help="Billions active per request, on average over the mapping.")
@click.option("--k", default=1, show_default=True, type=click.IntRange(1), help="Experts that one request may ask.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(0), help="Time to search the set.")
@click.option("--json", "json_file", type=_FILE, help="Write the plan and its frontiers here.")
@click.option("--html", "html_file", type=_FILE, help="Write a page with the frontiers here.")
def plan(
    folder: Path,
    pool_file: Path,
    split: str,
    router: str | None,
    max_energy_j: float | None,
    max_latency_ms: tuple[str, ...],
    resident_b: float | None,
    active_b: float | None,
    k: int,
    seconds: float,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Which experts should be awake?

    Chooses the set that promises the best quality within worst-case energy, latency and memory, with a proven bound on
    what any other set could reach; maps every category to one of them; and shows what other budgets would buy.

    \b
    Example:
      pointsman plan --table data/mmlu_pro --pool pool.yaml --resident-b 120 --max-energy-j 500 --html plan.html
    """  # noqa: D301 (click's mark against rewrapping)
    # Here, so that `pointsman --help` imports nothing of this.
    from rich.console import Console

    from pointsman.evals.errors import EvalError
    from pointsman.evals.plan import Caps, make_plan, traffic_of
    from pointsman.evals.plan_options import latency_caps, predictions
    from pointsman.evals.plan_pool import read_pool
    from pointsman.evals.plan_report import page, print_plan, to_json
    from pointsman.evals.tables import load_table
    from pointsman.routers.errors import RouterError

    try:
        pool = read_pool(pool_file)
        table = load_table(folder).split(split)
        traffic = traffic_of(table, pool, None if router is None else predictions(router, pool))
        caps = Caps(
            latency_ms=latency_caps(max_latency_ms, traffic),
            energy_j=inf if max_energy_j is None else max_energy_j,
            k=k,
            resident_b=inf if resident_b is None else resident_b,
            active_b=inf if active_b is None else active_b,
        )
        end = time.monotonic() + seconds
        made = make_plan(traffic, caps, should_stop=lambda: time.monotonic() > end)
    except (EvalError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    source = "category means" if router is None else f"router {router}"
    heading = f"{table.name}: {len(table):,} {split} prompts, quality from {source}"
    print_plan(made, traffic, heading, Console())
    if json_file is not None:
        json_file.write_text(to_json(made, heading), "utf-8")
        click.echo(f"wrote {json_file}")
    if html_file is not None:
        html_file.write_text(page(made, traffic, heading), "utf-8")
        click.echo(f"wrote {html_file}")
