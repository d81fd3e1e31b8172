"""Write docs/reference from the code, docs/pictures, and the list of design notes (`make reference`).

The pages are committed, so that they can be read where there is no site; a test compares them with the code.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import click
from command_pages import command_page
from http_pages import error_page, http_page
from pictures import pictures

from pointsman.gateway.app import create_app
from pointsman.gateway.cli.config_reference import reference_text
from pointsman.gateway.errors import TABLE
from pointsman.gateway.http.control import create_control
from pointsman.gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = "*Written by `make reference` from the code; do not edit.*"
_ABOUT_SETTINGS = """\
One table for each branch of the settings file. `[]` means: of each entry of a list. `*` means: of each name.
[Configuration](../configuration.md) tells how such a file is written, checked and served.
"""
_ABOUT_NOTES = """\
Each note tells one choice among designs or libraries: what was decided, why, and what was rejected. The numbers order
them by subject, not by date.
"""


def settings_page() -> str:
    """Every setting: what it takes, what it is when left out, what it means."""
    return f"# Every setting\n\n{WRITTEN}\n\n{_ABOUT_SETTINGS}\n{reference_text().rstrip()}\n"


def design_page() -> str:
    """Every design note by its heading."""
    links = []
    for page in sorted((ROOT / "docs/design").glob("[0-9]*.md")):
        heading = page.read_text(encoding="utf-8").partition("\n")[0]
        title = re.sub(r"^# (\d+:? *)?", "", heading)
        links.append(f"- [{title[:1].upper()}{title[1:]}]({page.name})")
    return "\n".join(["# Design notes", "", WRITTEN, "", _ABOUT_NOTES, *links, ""])


def commands() -> dict[str, click.Command]:
    """Name -> command, as pyproject.toml names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, click.Command] = {}
    for name, place in project["entry-points"]["pointsman.commands"].items():
        module, attribute = place.split(":")
        found[name] = getattr(import_module(module), attribute)
    return found


def openapi() -> dict[str, object]:
    """The document that a gateway serves at /openapi.json; nothing is opened to make it."""
    pool = {"experts": [{"name": "only", "backend": "fake"}]}
    app = create_app(Settings.model_validate({"pool": pool, "redis": {"embedded": False}}), env={})
    return create_control(app.runtime).openapi()


def written() -> dict[Path, str]:
    """File -> text."""
    reference = {
        "settings.md": settings_page(),
        "commands.md": command_page(commands(), WRITTEN),
        "http.md": http_page(openapi(), WRITTEN),
        "errors.md": error_page({code.value: (row.status, row.type) for code, row in TABLE.items()}, WRITTEN),
    }
    folders = {ROOT / "docs/reference": reference, ROOT / "docs/pictures": pictures()}
    files = {folder / name: text for folder, texts in folders.items() for name, text in texts.items()}
    return {**files, ROOT / "docs/design/README.md": design_page()}


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is not what the code says.")
def main(*, check: bool) -> None:
    """Write the reference pages and the pictures."""
    files = written()
    if not check:
        for file, text in files.items():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
    # In the folders of which every file is written, one too many is as wrong as a stale one.
    there = {file for folder in ("reference", "pictures") for file in (ROOT / "docs" / folder).iterdir()}
    here = {file: file.read_text(encoding="utf-8") for file in there | files.keys() if file.exists()}
    stale = sorted(
        str(file.relative_to(ROOT)) for file in here.keys() | files.keys() if here.get(file) != files.get(file)
    )
    if stale:
        click.echo(f"not what the code says: {', '.join(stale)}; run `make reference`", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
