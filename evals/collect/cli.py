"""`pointsman collect`: ask experts, make a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from pointsman.evals.collect.calls import Target

_RULES = ("exact", "choice", "number")


@click.command("collect")
@click.option(
    "--expert",
    "experts",
    multiple=True,
    required=True,
    metavar="NAME=URL[,MODEL]",
    help="An OpenAI-compatible server; MODEL is its own id where that is not NAME. Repeatable.",
)
@click.option(
    "--prompts",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV, TSV, JSON, JSON Lines or Parquet: prompt, and perhaps prompt_id, reference, dataset, category, split.",
)
@click.option(
    "--scorer",
    required=True,
    metavar="exact|choice|number|URL[,MODEL]",
    help="How an answer is compared with `reference`: as text, by its letter, by its last number; or a judge's URL.",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the table.")
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV of list prices.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Limit of each answer.")
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(min=1), help="Calls in flight.")
@click.option(
    "--timeout-s",
    default=120.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="For the head of an answer.",
)
@click.option("--processes", default=1, show_default=True, type=click.IntRange(min=1), help="On this machine.")
@click.option("--ray", metavar="ADDRESS", help="Run on this Ray cluster: `auto`, `local`, or HOST:PORT.")
def collect_table(
    experts: tuple[str, ...],
    prompts: Path,
    scorer: str,
    out: Path,
    prices: Path | None,
    max_tokens: int | None,
    concurrency: int,
    timeout_s: float,
    processes: int,
    ray: str | None,
) -> None:
    """Ask every expert every prompt and write the outcomes as a table.

    To resume an interrupted collection, run the same command again. The key for the servers, where they
    want one, is read from POINTSMAN_COLLECT_API_KEY.

    \b
    Example:
      pointsman collect --expert small=http://127.0.0.1:8001 --expert large=http://127.0.0.1:8002 \\
        --prompts questions.jsonl --scorer choice --out tables/mine
    """  # noqa: D301 (click's mark against rewrapping)
    from rich.console import Console

    from pointsman.evals.collect.calls import Shard
    from pointsman.evals.collect.run import collect, read_prompts
    from pointsman.evals.errors import EvalError
    from pointsman.evals.importers.cli import summarise
    from pointsman.evals.parallel import Workers
    from pointsman.evals.prices import read_prices

    key = os.environ.get("POINTSMAN_COLLECT_API_KEY")
    targets = [_target(one, key) for one in experts]
    if scorer not in _RULES and "://" not in scorer:
        raise click.BadParameter(f"{scorer!r} is neither {', '.join(_RULES)} nor a judge's URL", param_hint="--scorer")
    judge = None if scorer in _RULES else _target(f"judge={scorer}", key, "--scorer")
    like = Shard(targets[0], (), None if judge else scorer, judge, max_tokens, concurrency, timeout_s)
    try:
        with Console(stderr=True).status("asking") as status:
            done = collect(
                read_prompts(prompts),
                targets,
                out,
                like,
                prices=read_prices(prices, out.name) if prices else {},
                workers=Workers(processes, ray),
                told=lambda share: status.update(f"asking: {share:.0%}"),
            )
    except (EvalError, OSError) as error:
        raise click.ClickException(str(error)) from error
    summarise(done, out)


def _target(given: str, api_key: str | None, option: str = "--expert") -> Target:
    from pointsman.evals.collect.calls import Target

    name, equals, where = given.partition("=")
    url, _, model = where.partition(",")
    if not (name and equals and url.startswith(("http://", "https://", "http+unix://"))):
        raise click.BadParameter(f"{given!r} is not NAME=URL[,MODEL]", param_hint=option)
    try:
        urlsplit(url).port  # noqa: B018 (a port that is none is found when it is read)
    except ValueError as error:
        raise click.BadParameter(f"{url!r} is no URL ({error})", param_hint=option) from None
    return Target(name, url, model or name, api_key)
