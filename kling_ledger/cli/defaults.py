"""Defaults: settings become the defaults of their options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from kling_ledger.cli.output import Command, say
from kling_ledger.settings_file import read_settings, settings_path
from kling_pricing.own_books import BOOKS_VARIABLE

if TYPE_CHECKING:
    from kling_ledger.settings_file import Settings

_SPENDING: Final = {name: name for name in ("wallet", "project", "approve_above")}
_PARAMETERS: Final[Mapping[str, Mapping[str, str]]] = {
    "quote": {"provider": "provider"},
    "run": {**_SPENDING, "provider": "provider"},
    "check": {**_SPENDING, "provider": "provider"},
    "batch": _SPENDING,
    "exec": _SPENDING,
    "mcp": {"approve_above": "approve_above"},
}
"""Which parameters take a setting, by command; never a filter or a budget's scope."""

_ASKING: Final = {"timeout_s": "timeout", "longest_s": "timeout", "poll_every_s": "poll_every"}


def defaults_of(name: str, command: click.Command) -> dict[str, Any]:
    """Return click's default map for a command, or for each command of a group."""
    settings = read_settings()
    books = settings.text("books")
    if books and not os.environ.get(BOOKS_VARIABLE):
        os.environ[BOOKS_VARIABLE] = books
    if isinstance(command, click.Group):
        found = {sub: _own(name, one, settings) for sub, one in command.commands.items()}
    else:
        found = _own(name, command, settings)
    return {name: found, f"{name} diff": found}


def _own(name: str, command: click.Command, settings: Settings) -> dict[str, Any]:
    wanted = {**_ASKING, **_PARAMETERS.get(name, {})}
    found = {
        one.name: settings.values[wanted[one.name]]
        for one in command.params
        if one.name in wanted and wanted[one.name] in settings.values
    }
    for one in command.params:
        # The output file selects a report's format.
        if one.name == "form" and one.default == "table" and "format" in settings.values:
            found["form"] = settings.values["format"]
    return found


def _tell_source(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Print which wallet pays if it comes from the settings file."""
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.DEFAULT_MAP:
        say(f"note: {parameter.name} {value}, from {settings_path()}")
    return value


wallet_option: Callable[[Command], Command] = click.option(
    "--wallet", required=True, help="The wallet that pays.", callback=_tell_source
)
"""Add --wallet to a command that spends."""


def project_option(said: str) -> Callable[[Command], Command]:
    """Return the decorator that adds --project, with its help, to a command that spends."""
    return click.option("--project", help=said, callback=_tell_source)


def is_from_file(name: str) -> bool:
    """Whether a parameter of the running command has its value from the settings file."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.DEFAULT_MAP
