"""The command line's reference: a page a command, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import click

from docs.make.text import GENERATED, as_prose, cell, escaped
from kling_ledger.cli import cli

_PROGRAM: Final = "kling-ledger"
_EXIT_CODES: Final = re.compile(r"Exit codes: (.+?)\.\s*$", re.DOTALL | re.MULTILINE)


def pages() -> Iterator[tuple[str, str]]:
    """Yield every page by its path under docs/reference/cli, with its text."""
    context = click.Context(cli, info_name=_PROGRAM)
    named = [(name, _of(cli, context, name)) for name in cli.list_commands(context)]
    yield "index.md", _index(named)
    for name, command in named:
        yield f"{name}.md", _page(name, command, context)


def _of(group: click.Group, context: click.Context, name: str) -> click.Command:
    found = group.get_command(context, name)
    if found is None:
        raise LookupError(name)
    return found


def _index(named: list[tuple[str, click.Command]]) -> str:
    lines = [
        "# Command line",
        GENERATED,
        f"Every command of `{_PROGRAM}`. `-h` after any of them shows the same in your terminal.",
        "| command | what it does |\n|---|---|\n"
        + "\n".join(
            f"| [`{name}`]({name}.md) | {cell(_first_sentence(one))} |" for name, one in named
        ),
        "## Exit codes",
        "| code | meaning |\n|---|---|\n" + "\n".join(_exit_codes()),
    ]
    return "\n\n".join(lines) + "\n"


def _exit_codes() -> Iterator[str]:
    """Yield a row for each exit code, from what the command line says of itself."""
    found = _EXIT_CODES.search(cli.help or "")
    if found is None:
        raise LookupError("the help of the command line does not list its exit codes")
    for one in re.split(r",\s+(?=\d+ )", " ".join(found[1].split())):
        code, _, meaning = one.partition(" ")
        yield f"| {code} | {cell(meaning)} |"


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=200)


def _page(name: str, command: click.Command, parent: click.Context) -> str:
    parts = [f"# {_PROGRAM} {name}", GENERATED, *_described(command, name, parent, level=2)]
    return "\n\n".join(parts) + "\n"


def _described(
    command: click.Command, name: str, parent: click.Context, *, level: int
) -> Iterator[str]:
    """Yield what is told of a command, and below it of each command that it groups."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield as_prose(command.help or "", examples="sh")
    yield f"`{usage}`"
    own = [one for one in command.params if not getattr(one, "hidden", False)]
    if own:
        yield "\n".join(_parameter(one, context) for one in own)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            below = _of(command, context, inner)
            yield f"{'#' * level} {context.command_path.partition(' ')[2]} {inner}"
            yield from _described(below, inner, context, level=level + 1)


def _parameter(parameter: click.Parameter, context: click.Context) -> str:
    """Write one option or argument as an entry of a list: a table is cut on a small screen."""
    if isinstance(parameter, click.Option):
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        takes = "" if parameter.is_flag or parameter.count else parameter.make_metavar(context)
        said = f"- `{' '.join(filter(None, [names, takes]))}`: {escaped(parameter.help or '')}"
    else:
        said = f"- `{parameter.make_metavar(context)}`"
    return " ".join([said, *_facts(parameter)]).rstrip(": ")


def _facts(parameter: click.Parameter) -> Iterator[str]:
    """Yield what is fixed about a parameter: whether it is needed, its default, its variable."""
    if parameter.required and isinstance(parameter, click.Option):
        yield "Required."
    if parameter.multiple:
        yield "May be given several times."
    default: Any = parameter.to_info_dict().get("default")
    if default not in (None, False, (), ""):
        yield f"Default: `{default}`."
    variables = parameter.envvar or ()
    for variable in [variables] if isinstance(variables, str) else variables:
        yield f"Environment: `{variable}`."
