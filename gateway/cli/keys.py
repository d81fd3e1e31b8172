"""`pointsman keys`: make keys, and hash those that exist."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.group("keys")
def keys() -> None:
    """Make keys for callers, and the hashes by which settings know them."""


_pepper_env = click.option(
    "--pepper-env",
    default="POINTSMAN_PEPPER",
    show_default=True,
    metavar="NAME",
    help="Environment variable that holds the pepper, the same as auth.pepper_env.",
)
_pepper_file = click.option(
    "--pepper-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File that holds the pepper, the same as auth.pepper_file; stronger than --pepper-env.",
)


@keys.command("new")
@click.argument("name")
@_pepper_env
@_pepper_file
def new(name: str, pepper_env: str, pepper_file: Path | None) -> None:
    """Make a key for the caller NAME. It is shown once, and its hash goes into the settings.

    The key alone goes to standard output; what belongs in the settings goes to standard error.
    """
    from pointsman.gateway.access.keys import new_key

    key = new_key()
    written = _written(key, pepper_env, pepper_file)
    stated = f"pepper_env: {pepper_env}" if pepper_file is None else f"pepper_file: {pepper_file}"
    lines = [
        "This key is shown once and kept nowhere. The settings know it by its hash:",
        "auth:",
        f"  {stated}",
        "  keys:",
        f"  - name: {name}",
        f'    hashes: ["{written}"]',
    ]
    click.echo("\n".join(lines), err=True)
    click.echo(key)


@keys.command("hash")
@_pepper_env
@_pepper_file
def hashed(pepper_env: str, pepper_file: Path | None) -> None:
    """Print the hash of a key that exists, read from standard input."""
    key = sys.stdin.readline().strip()
    if not key:
        raise click.ClickException("no key on standard input")
    click.echo(_written(key, pepper_env, pepper_file))


@keys.command("pepper")
def pepper() -> None:
    """Print a new pepper. A new pepper changes the hash of every key."""
    import secrets

    click.echo(secrets.token_urlsafe(32))


def _written(key: str, pepper_env: str, pepper_file: Path | None) -> str:
    from pointsman.gateway.access.keys import Pepper
    from pointsman.gateway.settings.base import SettingsError, read_secret

    try:
        secret = read_secret("pepper", pepper_env if pepper_file is None else None, pepper_file, os.environ)
    except SettingsError as error:
        raise click.ClickException(f"{error.problems[0]}; `pointsman keys pepper` makes one") from None
    assert secret is not None  # noqa: S101  # one of the two is stated
    return Pepper(secret.encode()).written(key)
