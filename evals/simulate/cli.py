"""`pointsman simulate`: what average budgets would do to an hour of traffic. Thin; the work is done beside it."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pointsman.evals.simulate import DEFAULT_POOL

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SEEN = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("simulate")
@click.option("--table", required=True, type=_FOLDER, help="Folder with prompts.parquet and outcomes.parquet.")
@click.option(
    "--trace", required=True, type=_SEEN, help="Arrivals: parquet with `timestamp` and `prompt_tokens` of each request."
)
@click.option(
    "--pool",
    "pool_file",
    type=_SEEN,
    default=DEFAULT_POOL,
    show_default="seven open models",
    help="YAML of the experts; a gateway's configuration will do. Each 64 of `max_concurrency` are one machine.",
)
@click.option("--router", metavar="ARTEFACT", help="Folder of a router artefact, or `default`. Default: fit one here.")
@click.option("--split", default="test", show_default=True, help="Prompts to ask.")
@click.option("--train-split", default="train", show_default=True, help="Prompts to fit on where no router is named.")
@click.option("--max-cost-usd", type=click.FloatRange(0, min_open=True), help="Average cost of a request.")
@click.option("--max-energy-j", type=click.FloatRange(0, min_open=True), help="Average energy of a request.")
@click.option(
    "--p95-ttft-ms", type=click.FloatRange(0, min_open=True), help="95th percentile of the time to first token."
)
@click.option("--window-s", default=600.0, show_default=True, type=click.FloatRange(1), help="Length of an average.")
@click.option("--warm-up-s", type=click.FloatRange(0), help="Left out of all means. Default: one window.")
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1), help="Gateway processes.")
@click.option("--drift", metavar="S:CATEGORY[,CATEGORY]", help="From second S on, 90 % of the prompts are of these.")
@click.option("--outage", metavar="EXPERT:FROM-UNTIL", help="Every call to EXPERT fails in these seconds.")
@click.option("--burst", metavar="FACTOR:FROM-UNTIL", help="So many times the traffic in these seconds.")
@click.option("--silence", metavar="FROM-UNTIL", help="Replicas hear nothing of each other in these seconds.")
@click.option(
    "--energy-factor",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="What calls really take, over what the pool file says.",
)
@click.option("--most-s", type=click.FloatRange(1), help="Only so many seconds of the trace.")
@click.option("--compare", is_flag=True, help="Also find the best prices that never move, in hindsight.")
@click.option("--seed", default=0, show_default=True, help="Of prompts, machines and replicas.")
@click.option("--json", "json_file", type=_FILE, help="Write the results here; - for standard output.")
@click.option("--html", "html_file", type=_FILE, help="Write a page with plots over time here.")
def simulate(
    table: Path,
    trace: Path,
    pool_file: Path,
    router: str | None,
    split: str,
    train_split: str,
    max_cost_usd: float | None,
    max_energy_j: float | None,
    p95_ttft_ms: float | None,
    window_s: float,
    warm_up_s: float | None,
    replicas: int,
    drift: str | None,
    outage: str | None,
    burst: str | None,
    silence: str | None,
    energy_factor: float,
    most_s: float | None,
    compare: bool,
    seed: int,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Put a pool under recorded traffic and hold average budgets.

    Arrivals and prompt lengths are those of the trace, prompts and outcomes those of the table. Decisions are the
    gateway's own, on a simulated clock; the machines behind the experts are simulated from the pool file.

    \b
    Example:
      pointsman simulate --table data/mmlu_pro --trace data/energy_latency/azure_llm_trace_2023.parquet \\
        --max-energy-j 250 --max-cost-usd 0.0004 --p95-ttft-ms 800 --burst 10:1800-1980 --html burst.html
    """  # noqa: D301 (click's mark against rewrapping)
    from pointsman.evals.errors import EvalError
    from pointsman.evals.simulate.scenarios import Scenario, parse_burst, parse_drift, parse_outage, parse_span
    from pointsman.evals.simulate.session import SimulateOptions, run_simulation
    from pointsman.routers.errors import RouterError
    from pointsman.routers.selection.prices import AverageBudget

    try:
        given = [name for name, value in (("drift", drift), ("outage", outage), ("burst", burst)) if value]
        scenario = Scenario(
            name=", ".join(given) or "steady",
            drift=None if drift is None else parse_drift(drift),
            outage=None if outage is None else parse_outage(outage),
            burst=None if burst is None else parse_burst(burst),
            silence=None if silence is None else parse_span(silence),
            energy_factor=energy_factor,
        )
        options = SimulateOptions(
            table=table,
            trace=trace,
            pool=pool_file,
            router=router,
            split=split,
            train_split=train_split,
            budget=AverageBudget(window_s, max_cost_usd, max_energy_j, p95_ttft_ms),
            scenario=scenario,
            warm_up_s=window_s if warm_up_s is None else warm_up_s,
            replicas=replicas,
            most_s=most_s,
            compare=compare,
            seed=seed,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        run_simulation(options, json_file, html_file)
    except (EvalError, RouterError) as error:
        raise click.ClickException(str(error)) from error
