"""`pointsman import`: public outcome data -> a table that `pointsman eval` and `pointsman train` read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pointsman.evals.importers.table_writer import ImportSummary

#: Format -> the module that reads it.
FORMATS = {
    "alpaca-eval": "alpaca_eval",
    "embedllm": "embedllm",
    "inspect": "inspect_logs",
    "llmrouterbench": "llmrouterbench",
    "lm-eval": "lm_eval",
    "plain": "plain",
    "routerarena": "routerarena",
    "routerbench": "routerbench",
    "routellm": "routellm",
}


@click.command("import")
@click.argument("format_", metavar="FORMAT", type=click.Choice(sorted(FORMATS)))
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the table.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Where a plain table names a column otherwise: prompt=question. Repeatable; models=A,B,C for a wide table.",
)
@click.option("--category-column", metavar="NAME", help="Short for --column category=NAME.")
@click.option(
    "--metric",
    metavar="NAME",
    help="lm-eval, inspect: which score to take where there are several. alpaca-eval: which reference or annotator.",
)
@click.option("--filter", "filter_", metavar="NAME", help="lm-eval: which answer filter to take.")
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the prompts in the test split, where the source has no split.",
)
def import_table(
    format_: str,
    source: Path,
    out: Path,
    columns: tuple[str, ...],
    category_column: str | None,
    metric: str | None,
    filter_: str | None,
    test_share: float,
) -> None:
    """Turn public outcome data into a table.

    \b
    FORMAT is one of:
      alpaca-eval     annotations.json of AlpacaEval; the score is the win over the reference
      embedllm        train/val/test.csv of EmbedLLM
      inspect         logs of inspect-ai, .eval or .json
      llmrouterbench  the folder bench/ of LLMRouterBench
      lm-eval         samples_*.jsonl of lm-evaluation-harness (--log_samples)
      plain           any CSV, TSV, JSON, JSON Lines or Parquet, long or wide
      routerarena     prediction files of RouterArena
      routerbench     RouterBench, exported as CSV or Parquet
      routellm        the folder routellm/evals of RouteLLM

    \b
    Example:
      pointsman import lm-eval results/ --out tables/mine
      pointsman import plain scores.csv --column prompt=question --column models=small,large --out tables/mine
    """  # noqa: D301 (click's mark against rewrapping)
    import importlib

    from rich.console import Console

    from pointsman.evals.errors import EvalError
    from pointsman.evals.importers.records import ImportSource
    from pointsman.evals.importers.table_writer import write_table

    asked = ImportSource(source, _columns(columns, category_column), metric, filter_)
    module = importlib.import_module(f"pointsman.evals.importers.{FORMATS[format_]}")
    try:
        with Console(stderr=True).status("reading") as status:
            done = write_table(
                module.read(asked),
                out,
                asked.dropped,
                test_share=test_share,
                told=lambda count: status.update(f"{count:,} outcomes read"),
            )
    except EvalError as error:
        raise click.ClickException(str(error)) from error
    summarise(done, out)


def _columns(given: tuple[str, ...], category: str | None) -> dict[str, str]:
    pairs = dict([("category", category)] if category else [])
    for one in given:
        ours, equals, theirs = one.partition("=")
        if not (ours and equals and theirs):
            raise click.BadParameter(f"{one!r} is not OURS=THEIRS", param_hint="--column")
        pairs[ours] = theirs
    return pairs


def summarise(done: ImportSummary, out: Path) -> None:
    """Say what came of an import."""
    from pointsman.evals.importers.records import NOTE

    cells = done.prompts * len(done.models)
    scored = sum(done.models.values()) * done.prompts
    click.echo(f"{done.prompts:,} prompts x {len(done.models)} models, {scored / cells:.1%} of the cells scored.")
    for name, share in done.models.items():
        if share < 1:
            click.echo(f"  {name}: scored on {share:.1%} of the prompts")
    how = "by hash of the text, near-duplicates together" if done.split_made else "as the source splits them"
    click.echo(f"Split {how}: " + ", ".join(f"{count:,} {name}" for name, count in done.splits.items()) + ".")
    if done.straddling:
        click.echo(f"  {done.straddling} clusters of near-duplicate prompts stand on both sides of the source's split")
    for reason, count in sorted(done.dropped.items()):
        if count:
            told = reason.removeprefix(NOTE)
            click.echo(f"  {told}" if told != reason else f"  left out {count:,}: {reason}")
    click.echo(f"Wrote {out}. Evaluate it: pointsman eval --table {out}")
