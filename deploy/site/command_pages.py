"""The commands as a page, from what click knows of them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping

import click


def command_page(commands: Mapping[str, click.Command], written: str) -> str:
    """One section per command.

    Args:
        commands: By name.
        written: The line that says who writes the page.
    """
    lines = ["# Every command", "", written, "", "`pointsman COMMAND --help` says the same in the terminal.", ""]
    for name in sorted(commands):
        lines += _section(f"pointsman {name}", commands[name], level=2)
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, command: click.Command, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield from (f"{'#' * level} `{name}`", "", *_help(inspect.cleandoc(command.help or "")))
    yield from ("```text", f"{name} {' '.join(command.collect_usage_pieces(context))}", "```", "")
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        yield from ("| option | default | meaning |", "|---|---|---|")
        yield from (_row(option, context) for option in options)
        yield ""
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _section(f"{name} {below}", command.commands[below], level + 1)


def _help(text: str) -> Iterator[str]:
    """The help text; what click prints as it stands (after a backspace sign) is a block of code."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            head, _, example = paragraph.removeprefix("\b\n").partition("\n")
            if not head.startswith(" ") and example.startswith(" "):
                yield from (head, "")
            else:
                example = f"{head}\n{example}"
            yield from ("```text", textwrap.dedent(example).rstrip(), "```", "")
        else:
            yield from (*textwrap.wrap(" ".join(paragraph.split()), 120, break_on_hyphens=False), "")


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if not option.is_flag:
        names += " " + _values(option.make_metavar(context))
    return f"| {names} | {_default(option)} | {_cell(option.help or '')} |"


def _values(metavar: str) -> str:
    """What an option takes. A sign that parts columns cannot stand in the code of a table."""
    if metavar.startswith("[") and metavar.endswith("]"):
        metavar = metavar[1:-1]
    return " or ".join(f"`{value}`" for value in metavar.split("|"))


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default  # said in words
    default = option.to_info_dict()["default"]
    if option.is_flag or option.multiple or default is None or callable(default):
        return ""
    return f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
