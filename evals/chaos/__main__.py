"""`python -m pointsman.evals.chaos`: inject every fault under load; the exit status is 1 when a promise is broken."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from pointsman.evals.chaos.report import broken_promises, draw, page
from pointsman.evals.chaos.run import run
from pointsman.evals.studies.prose import wrapped


@click.command()
@click.option("--short", is_flag=True, help="A minute, whatever --seconds says.")
@click.option("--seconds", default=600.0, show_default=True, help="How long.")
@click.option("--per-s", default=40.0, show_default=True, help="Requests a second.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results"), show_default=True)
def main(short: bool, seconds: float, per_s: float, out: Path) -> None:
    """Break what the gateway stands on, one thing at a time, and account for every request."""
    with tempfile.TemporaryDirectory(prefix="pointsman-chaos-") as folder:
        seen = asyncio.run(run(60.0 if short else seconds, per_s, Path(folder)))
    out.mkdir(parents=True, exist_ok=True)
    (out / "chaos.md").write_text(wrapped(page(seen)), "utf-8")
    draw(seen, out / "figures" / "chaos.svg")
    problems = broken_promises(seen)
    click.echo("\n".join(problems) or "every promise kept")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
