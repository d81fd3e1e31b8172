"""The tables of caps, weights, rules and terms in the pages, made from the objects that the decision itself reads.

`python -m pointsman.gateway.cli.routing_reference README.md docs/*.md` writes them. A table stands between
`<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from pointsman.routers.budget import CAPS, WEIGHTS, Cap, Weight
from pointsman.routers.selection.filters.chain import FILTERS, rules_of
from pointsman.routers.selection.filters.kind import FilterKind
from pointsman.routers.selection.scorers.kind import Scorer
from pointsman.routers.selection.scorers.utility import SCORERS

_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def tables(
    caps: Sequence[Cap] = CAPS,
    weights: Sequence[Weight] = WEIGHTS,
    filters: Sequence[FilterKind] = FILTERS,
    scorers: Sequence[Scorer] = SCORERS,
) -> Mapping[str, str]:
    """Name of a table -> its Markdown."""
    return {
        "caps": _table(("`routing` field", "header", "option of `pointsman route`", "meaning"), _caps(caps)),
        "weights": _table(("field of `routing.weights`", "header", "default", "meaning"), _weights(weights)),
        "budgets-in-short": _table(("`routing` field", "header", ""), _in_short(caps, weights)),
        "rules": _table(("rule", "stated by", "an expert breaks it when", "waiting may help"), _rules(filters)),
        "terms": _table(("term", "meaning"), _terms(scorers)),
    }


def with_tables(page: str, made: Mapping[str, str]) -> str:
    """A page with its tables as they are now.

    Raises:
        KeyError: It names a table that does not exist.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}\n{made[block[2]]}\n{block[3]}", page)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("  ", " ") for line in lines)


def _caps(caps: Iterable[Cap]) -> Iterator[Sequence[str]]:
    for cap in caps:
        yield f"`{cap.name}`", f"`{cap.header}`", f"`{cap.option}`", cap.help


def _weights(weights: Iterable[Weight]) -> Iterator[Sequence[str]]:
    for weight in weights:
        yield f"`{weight.name}`", f"`{weight.header}`", "0" if weight.figure else "1", weight.help


def _in_short(caps: Iterable[Cap], weights: Iterable[Weight]) -> Iterator[Sequence[str]]:
    for cap in caps:
        yield f"`{cap.name}`", f"`{cap.header}`", cap.help
    names = ",".join(weight.name for weight in weights)
    yield f"`weights.{{{names}}}`", "`x-pointsman-weight-…`", "Price of what is not capped."


def _rules(filters: Sequence[FilterKind]) -> Iterator[Sequence[str]]:
    for rule in rules_of(filters):
        path = f"`{rule.path}`" if rule.path else ""
        yield f"`{rule.name}`", path, rule.meaning, "yes" if rule.passing else ""


def _terms(scorers: Iterable[Scorer]) -> Iterator[Sequence[str]]:
    yield "`quality`", "Predicted quality times its weight."
    for scorer in scorers:
        for name, meaning in scorer.terms.items():
            yield f"`{name}`", meaning


@click.command()
@click.argument("pages", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(pages: tuple[Path, ...]) -> None:
    """Write the tables of PAGES."""
    for page in pages:
        page.write_text(with_tables(page.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
