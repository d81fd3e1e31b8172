"""`python -m pointsman.evals.studies`: run the studies and write their pages. Same data and seeds, same pages."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from pointsman.evals.studies.prose import wrapped
from pointsman.evals.studies.recipe import marked, recipe_digest, written_line
from pointsman.evals.studies.study import Study, StudyContext

#: Modules with a `STUDY`, in the order of the index.
MODULES: tuple[str, ...] = (
    "pointsman.evals.studies.router_quality",
    "pointsman.evals.studies.generalisation",
    "pointsman.evals.studies.tryage",
    "pointsman.evals.studies.categories",
    "pointsman.evals.studies.coe",
    "pointsman.evals.studies.moe2",
    "pointsman.evals.studies.gate_restriction",
    "pointsman.evals.studies.answers_as_evidence",
    "pointsman.evals.studies.average_budgets",
    "pointsman.evals.studies.preferences",
    "pointsman.evals.studies.null_experts",
    "pointsman.evals.studies.safety",
    "pointsman.evals.studies.public_routers",
    "pointsman.evals.studies.routellm_evaluator",
    "pointsman.evals.studies.decision_speed",
)

#: Stands in the index.
_RECIPES = """A study's page names its recipe by a digest of the values that the study and the training state. *An
earlier recipe* means that some of them have changed since, so that the figures are those of an earlier version."""

_PAGES = Path(__file__).resolve().parents[2] / "docs" / "results"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Folder of the tables; ../shared/data.")
@click.option("--out", type=click.Path(path_type=Path), default=_PAGES, show_default="docs/results", help="The pages.")
@click.option("--quick", is_flag=True, help="Fewer seeds and resamples: see that everything runs.")
@click.option("--mark", is_flag=True, help="Run nothing; mark the pages that were measured with an earlier recipe.")
def main(names: tuple[str, ...], data: Path | None, out: Path, quick: bool, mark: bool) -> None:
    """Run all studies, or the named ones."""
    if mark:
        mark_pages(out)
        return
    root = data or Path(os.environ.get("POINTSMAN_SHARED", "../shared")) / "data"
    studies = {module: study for module, study in _studies().items() if not names or study.name in names}
    if unknown := set(names) - {study.name for study in studies.values()}:
        raise click.UsageError(f"no study named {', '.join(sorted(unknown))}")
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for module, study in studies.items():
        if missing := [folder for folder in study.needs if not (root / folder).is_dir()]:
            click.echo(f"{study.name}: left out, {', '.join(missing)} is not in {root}", err=True)
            continue
        if missing := [name for name in study.packages if importlib.util.find_spec(name) is None]:
            click.echo(f"{study.name}: left out, {', '.join(missing)} is not installed", err=True)
            continue
        start = time.monotonic()
        with Progress(console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task(study.name, total=1.0)
            body = study.run(StudyContext(root, figures, quick, partial(_tell, bars, bar)))
        (out / f"{study.name}.md").write_text(_page(study, recipe_digest(module), body, quick), "utf-8")
        click.echo(f"{study.name}: {time.monotonic() - start:.0f} s -> {out / study.name}.md")
    (out / "README.md").write_text(_index(out), "utf-8")


def _tell(bars: Progress, bar: TaskID, share: float) -> None:
    bars.update(bar, completed=share)


def mark_pages(out: Path) -> None:
    """Say of each page in a folder whether its recipe is an earlier one."""
    for module, study in _studies().items():
        page = out / f"{study.name}.md"
        if page.is_file():
            page.write_text(marked(page.read_text("utf-8"), recipe_digest(module)), "utf-8")


def _studies() -> dict[str, Study]:
    """Module -> its study, in the order of the index."""
    return {module: importlib.import_module(module).STUDY for module in MODULES}


def _page(study: Study, recipe: str, body: str, quick: bool) -> str:
    warning = "\n> A quick run with few seeds and resamples: for checking, not for quoting.\n" if quick else ""
    return f"# {study.title}\n\n{written_line(recipe)}\n{warning}\n{wrapped(body.strip())}\n"


def _index(out: Path) -> str:
    """Links to the pages that are there, whichever run wrote them: first those of the studies, in their order."""
    order = [f"{study.name}.md" for study in _studies().values()]
    pages = [page for page in out.glob("*.md") if page.name != "README.md"]
    pages.sort(key=lambda page: (order.index(page.name) if page.name in order else len(order), page.name))
    titles = {page.name: page.read_text("utf-8").partition("\n")[0].removeprefix("# ") for page in pages}
    links = "\n".join(f"- [{title}]({name})" for name, title in titles.items())
    return f"# Results\n\n*Written by `make report`; do not edit.*\n\n{_RECIPES}\n\n{links}\n"


if __name__ == "__main__":
    main()
