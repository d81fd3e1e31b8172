"""The `pointsman` command. Subcommands are found by name and imported only when they are needed."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, Final

import click

_GROUP: Final = "pointsman.commands"


class _Commands(click.Group):
    """A group whose commands are the entry points of one group, so that packages add commands without our knowing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._entry_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._entry_points().get(cmd_name)
        if found is None:
            return None
        try:
            loaded = found.load()
        except ImportError as error:
            return _missing(cmd_name, error)
        if not isinstance(loaded, click.Command):
            raise click.ClickException(f"the entry point {found.value} is not a command")
        return loaded

    @staticmethod
    def _entry_points() -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=_GROUP)}


def _missing(name: str, error: ImportError) -> click.Command:
    """Stands in for a command whose packages are not installed, so that `--help` still lists the others."""

    def explain(**_: Any) -> None:
        raise click.ClickException(f"'{name}' needs a package that is not installed: {error}")

    return click.Command(
        name,
        callback=explain,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        short_help=f"(not available: {error})",
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=version("pointsman"), prog_name="pointsman")
def main() -> None:
    """Send each prompt to the expert that suits it, within budgets of latency, energy and cost."""
