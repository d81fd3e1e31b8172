"""The harness's commands: `pointsman eval` and `pointsman train`; what they do lives in `session.py`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


def _print_schema(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from pointsman.evals.report import schema_text

    click.echo(schema_text(), nl=False)
    context.exit()


def _print_metrics(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from pointsman.evals.metrics.catalog import metrics_markdown

    click.echo(metrics_markdown(), nl=False)
    context.exit()


@click.command("eval")
@click.option("--table", required=True, type=_FOLDER, help="Folder with prompts.parquet and outcomes.parquet.")
@click.option(
    "--router",
    "routers",
    multiple=True,
    metavar="ARTEFACT",
    help="Folder of a router artefact, `default`, or a baseline's name. Repeatable. Without it a router is fitted on "
    "the table's train split. Baselines always run.",
)
@click.option("--split", default="test", show_default=True, help="Prompts to evaluate.")
@click.option("--train-split", default="train", show_default=True, help="Prompts to choose and to fit on.")
@click.option("--json", "json_file", type=_FILE, help="Write the results here; - for standard output.")
@click.option("--html", "html_file", type=_FILE, help="Write a page with plots here.")
@click.option(
    "--prices",
    metavar="FILE",
    help="CSV of dollars per million tokens; `none` for no costs. Default: the table's own cost_usd, else prices.csv "
    "in the table's folder or in a folder `prices` beside it.",
)
@click.option("--models", metavar="A,B,C", help="Only these experts.")
@click.option("--datasets", metavar="A,B", help="Only prompts of these data sets.")
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="Leave out experts scored on a smaller share of the prompts.",
)
@click.option(
    "--prompts",
    type=click.Choice(["common", "any"]),
    default="common",
    show_default=True,
    help="Evaluate prompts on which every expert is scored, or (sparse tables) all with any score.",
)
@click.option(
    "--generalist", "generalists", multiple=True, metavar="NAME", help="Expert for uncertain prompts. Repeatable."
)
@click.option(
    "--folds",
    default=5,
    show_default=True,
    type=click.IntRange(min=2),
    help="Cross-fit in so many folds where the table has no train split.",
)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap, of folds and of fitting.")
@click.option(
    "--bootstrap", default=1000, show_default=True, type=click.IntRange(min=0), help="Resamples behind the intervals."
)
@click.option(
    "--protocol",
    type=click.Choice(["split", "resplit", "lodo", "loco", "onboarding"]),
    default="split",
    show_default=True,
    help="What is learned from: the train split; train and test divided again by --seed (resplit); the train split "
    "without the data set (lodo) or category (loco) of the evaluated prompt. Or: how do experts that join with a few "
    "labelled prompts (onboarding)?",
)
@click.option(
    "--newcomer",
    "newcomers",
    multiple=True,
    metavar="NAME",
    help="Expert that joins in --protocol onboarding; default: the best single one. Repeatable.",
)
@click.option(
    "--drop-leaks", is_flag=True, help="Leave out train prompts that stand in the evaluated split too, in any wording."
)
@click.option("--embedder", metavar="NAME", help="Embedder of a router fitted here.")
@click.option(
    "--beside",
    multiple=True,
    metavar="ROUTER",
    help="A public router to run beside, fitted on the same train split: llmrouter-knn, llmrouter-svm, llmrouter-mlp, "
    "llmrouter-mf, semantic-router. Repeatable; needs the extra `peers`.",
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON schema of the results and exit.",
)
@click.option(
    "--metrics",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_metrics,
    help="Print the table of metrics in Markdown and exit.",
)
def evaluate(
    table: Path,
    routers: tuple[str, ...],
    split: str,
    train_split: str,
    json_file: Path | None,
    html_file: Path | None,
    prices: str | None,
    models: str | None,
    datasets: str | None,
    min_coverage: float,
    prompts: str,
    generalists: tuple[str, ...],
    folds: int,
    seed: int,
    bootstrap: int,
    protocol: str,
    newcomers: tuple[str, ...],
    drop_leaks: bool,
    embedder: str | None,
    beside: tuple[str, ...],
) -> None:
    """Does routing pay? Evaluate routers on a table of real outcomes.

    Every router meets the same baselines on the same prompts: random, cheapest, best single, prompt length, category
    oracle, nearest neighbours, linear models, zero router and oracle. All that is chosen or fitted is chosen or fitted
    on the train split.

    \b
    Example:
      pointsman eval --table data/mmlu_pro --html report.html
    """  # noqa: D301 (click's mark against rewrapping)
    from pointsman.evals.errors import EvalError
    from pointsman.evals.protocols.division import Protocol
    from pointsman.evals.session import EvalOptions, run_eval, run_onboarding
    from pointsman.routers.errors import RouterError

    if html_file is not None and protocol == Protocol.ONBOARDING:
        raise click.UsageError("--html draws no page of --protocol onboarding; --json writes its rows")
    options = EvalOptions(
        table=table,
        routers=routers,
        split=split,
        train_split=train_split,
        prices=prices,
        models=_names(models),
        datasets=_names(datasets),
        min_coverage=min_coverage,
        sparse=prompts == "any",
        generalists=generalists,
        folds=folds,
        seed=seed,
        resamples=bootstrap,
        embedder=embedder,
        beside=beside,
        protocol=Protocol(protocol),
        newcomers=newcomers,
        drop_leaks=drop_leaks,
        command=_command(),
    )
    try:
        if options.protocol is Protocol.ONBOARDING:
            run_onboarding(options, json_file)
        else:
            run_eval(options, json_file, html_file)
    except (EvalError, RouterError, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.command("train")
@click.option("--table", required=True, type=_FOLDER, help="Folder with prompts.parquet and outcomes.parquet.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the artefact.")
@click.option("--train-split", default="train", show_default=True, help="Prompts to fit on; no other prompt is read.")
@click.option("--models", metavar="A,B,C", help="Only these experts.")
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Leave out experts scored on a smaller share of the prompts. Fitting bears holes, evaluation less so.",
)
@click.option(
    "--embedder",
    metavar="NAME",
    help="Text to vector: static (default), a sentence-transformers model such as all-MiniLM-L6-v2, or fine-tuned, a "
    "sentence encoder trained on the table's outcomes first (minutes on a GPU, longer without). The last two need the "
    "extra 'train', here and where the router is served.",
)
@click.option(
    "--head",
    type=click.Choice(["linear", "knn", "mlp", "auto"]),
    default="linear",
    show_default=True,
    help="Classifier of the categories; auto takes the one of least held-out log-loss.",
)
@click.option(
    "--propagate-labels",
    is_flag=True,
    help="Where only some prompts have a category, label the others as their nearest labelled neighbours are, as far "
    "as those agree. Needs the extra 'train'.",
)
@click.option("--overwrite", is_flag=True, help="Replace an artefact that stands in --out already.")
@click.option("--name", help="Name of the router; default: the table's.")
@click.option("--seed", default=0, show_default=True, help="Of splits and of fitting.")
def train(
    table: Path,
    out: Path,
    train_split: str,
    models: str | None,
    min_coverage: float,
    embedder: str | None,
    head: str,
    propagate_labels: bool,
    overwrite: bool,
    name: str | None,
    seed: int,
) -> None:
    """Fit a router on a table's train split and write it as an artefact.

    \b
    Example:
      pointsman train --table data/mmlu_pro --out artefacts/mmlu
      pointsman eval --table data/mmlu_pro --router artefacts/mmlu
    """  # noqa: D301
    from pointsman.evals.errors import EvalError
    from pointsman.evals.session import TrainOptions, run_train
    from pointsman.routers.errors import RouterError

    options = TrainOptions(
        table=table,
        train_split=train_split,
        models=_names(models),
        min_coverage=min_coverage,
        embedder=embedder,
        head=head,
        propagate_labels=propagate_labels,
        name=name,
        seed=seed,
    )
    refuse_to_overwrite(out, overwrite)
    try:
        run_train(options, out)
    except (EvalError, RouterError, OSError) as error:
        raise click.ClickException(str(error)) from error


def refuse_to_overwrite(out: Path, overwrite: bool) -> None:
    """An artefact may be served while another is fitted: it is replaced only when asked for.

    Raises:
        ClickException: The folder holds something.
    """
    if out.is_dir() and any(out.iterdir()) and not (overwrite and (out / "manifest.json").exists()):
        held = "an artefact already; --overwrite replaces it" if (out / "manifest.json").exists() else "other files"
        raise click.ClickException(f"{out}: holds {held}")


def _names(given: str | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(name.strip() for name in given.split(",") if name.strip())


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
