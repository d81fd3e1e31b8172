"""`python -m pointsman.experts.backends`: a table of the backends that are installed, or that table in a page."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Final

from pointsman.experts.backend_registry import backend_spec, installed_backends
from pointsman.experts.backend_spec import BackendSpec
from pointsman.experts.spec import ENDPOINT_CAPABILITIES, Capability

_BEGIN: Final = "<!-- made by `python -m pointsman.experts.backends --write docs/backends.md` -->"
_END: Final = "<!-- end of what is made -->"
_COLUMNS: Final = (
    "backend",
    "reaches",
    "`base_url`",
    "answers",
    "endpoints beside chat and completions",
    "health probe",
    "when the client leaves",
    "needs",
)


def table() -> str:
    """A row for each backend, in Markdown."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(name, backend_spec(name)) for name in installed_backends())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(page: str) -> str:
    """A page with the table of now between its marks.

    Raises:
        ValueError: It has no marks.
    """
    text, found = re.subn(
        f"(?<={re.escape(_BEGIN)}\n).*?(?=\n{re.escape(_END)})", lambda _: f"\n{table()}", page, flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"the page does not have once what stands between {_BEGIN} and {_END}")
    return text


def _row(name: str, spec: BackendSpec[Any]) -> tuple[str, ...]:
    address = {"none": "–", "optional": "may be stated", "required": "must be stated"}[spec.address]
    endpoints = _endpoints(spec.endpoints)
    return (f"`{name}`", spec.reaches, address, spec.answers, endpoints, spec.probe, spec.when_left, spec.needs)


def _endpoints(endpoints: frozenset[Capability]) -> str:
    if endpoints == ENDPOINT_CAPABILITIES:
        return "those its `capabilities` name"
    return ", ".join(sorted(endpoints)) or "–"


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m pointsman.experts.backends", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in this page")
    page: Path | None = parser.parse_args(arguments).write
    if page is None:
        sys.stdout.write(table())
    else:
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
