"""The price books that a command uses, and its notes about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from kling_ledger.cli.output import say
from kling_pricing.library import Library, open_library

Command = TypeVar("Command", bound=Callable[..., Any])


def book_option(command: Command) -> Command:
    """Add `--book FILE` to a command; all loaded price books reach it as `library`."""
    return click.option(
        "--book",
        "library",
        multiple=True,
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        callback=_opened,
        help="Your own price book, used before the bundled one; may be repeated. [also read: "
        "every *.toml in the folder KLING_LEDGER_BOOKS, by default in your settings]",
    )(command)


def _opened(context: click.Context, _: click.Parameter, files: Sequence[str]) -> Library:
    library = open_library(*files)
    _say_notes(library)
    context.call_on_close(lambda: _say_unanswered(library))
    return library


def _say_notes(library: Library) -> None:
    """Report files in the user's folder that are not read."""
    for note in library.notes:
        say(f"note: {note}")


def _say_unanswered(library: Library) -> None:
    for line in library.unanswered():
        say(f"note: {line}")
