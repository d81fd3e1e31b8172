"""`pointsman init`: a settings file of ours from another gateway's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pointsman.gateway.settings.litellm.records import Migration
    from pointsman.gateway.settings.yaml_source import Document


@click.command("init")
@click.option("--from", "origin", type=click.Choice(["litellm"]), required=True, help="Whose file it is.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: standard output]")
@click.option("--overwrite", is_flag=True, help="Replace the file if there is one.")
def init(origin: str, file: Path, out: Path | None, *, overwrite: bool) -> None:
    """Write a settings file from FILE, another gateway's, and say what each of its entries became.

    An entry that has no counterpart is marked with a minus. No secret is written: the file names the environment
    variables that are to hold them. Exits with 1 when FILE cannot be used.
    """
    del origin  # there is one
    from pointsman.gateway.settings import SettingsError
    from pointsman.gateway.settings.load import told

    if out is not None and out.exists() and not overwrite:
        raise click.ClickException(f"{out}: is there already; --overwrite replaces it")
    try:
        document, data, migration = _read(file)
    except SettingsError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    written = _text(data, file, migration)
    if out is None:
        click.echo(written, nl=False)
    else:
        try:
            out.write_text(written, encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{out}: cannot be written: {error.strerror}") from None
    records = told(migration, document)
    lost = sum(record.lost for record, _ in records)
    for record, sentence in records:
        click.echo(f"{'-' if record.lost else '+'} {sentence}", err=True)
    names = _variables(data, migration)
    if names:
        click.echo(f"Set in the environment: {', '.join(names)}", err=True)
    where = "" if out is None else f" {out}: written."
    click.echo(f"{len(records) - lost} entries have a counterpart, {lost} have none.{where}", err=True)


def _read(file: Path) -> tuple[Document, dict[str, Any], Migration]:
    """The file, and the same as raw settings of ours.

    Raises:
        SettingsError: It cannot be used, or is not litellm's.
    """
    from pointsman.gateway.settings import SettingsError
    from pointsman.gateway.settings.litellm.document import is_litellms
    from pointsman.gateway.settings.load import check_raw, in_our_shape, text_of
    from pointsman.gateway.settings.yaml_source import parse

    document = parse(text_of(file), str(file))
    if not is_litellms(document.data):
        raise SettingsError(["is not in litellm's shape: it has no model_list at its top"], str(file))
    # Not with what the environment holds now: the names of variables are to be the same wherever this is run.
    data, migration = in_our_shape(document, file.parent, {})
    check_raw(data, migration, document, str(file))
    return document, data, migration


def _text(data: Mapping[str, Any], file: Path, migration: Migration) -> str:
    import yaml

    names = _variables(data, migration)
    head = [f"# Made by `pointsman init --from litellm` from {file.name}."]
    if names:
        head.append("# In the environment of the gateway:")
        head += [f"#   {name}" for name in names]
    body = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body


def _variables(data: Mapping[str, Any], migration: Migration) -> list[str]:
    """Names of all variables that the settings refer to."""
    from pointsman.gateway.settings.environment import variables_in

    return sorted(variables_in(data) | set(migration.variables))
