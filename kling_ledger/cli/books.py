"""Which price books a command uses: the bundled ones, and the user's own over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kling_ledger.cli.output import say
from kling_ledger.config import books_folder
from kling_pricing.book_reader import LARGEST, BookText, provider_of
from kling_pricing.errors import BookError
from kling_pricing.library import Library, library_of

if TYPE_CHECKING:
    from pathlib import Path

Command = TypeVar("Command", bound=Callable[..., Any])


def book_option(command: Command) -> Command:
    """Add `--book FILE` to a command; the price books at hand reach it as `library`."""
    return click.option(
        "--book",
        "library",
        multiple=True,
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        callback=lambda _, __, files: open_library(files),
        help="A price book of your own over the bundled one; may be repeated. "
        "[also: every *.toml in the folder KLING_LEDGER_BOOKS, by default in your settings]",
    )(command)


def open_library(given: Sequence[str]) -> Library:
    """Return the bundled books under those of the user's folder under those given.

    A file that is given takes the place of one in the folder that is of the same provider.
    """
    found = own_books()
    if not found and not given:
        return Library()
    from pathlib import Path

    named = [_read(Path(path)) for path in given]
    theirs = {provider_of(book.text, name=book.name) for book in named}
    kept = [book for book in found if provider_of(book.text, name=book.name) not in theirs]
    for book in found:
        if book not in kept:
            say(f"note: {book.name} is left out: --book gives another of its provider")
    return library_of([*kept, *named])


def own_books() -> list[BookText]:
    """Return the user's own books in the folder, by name; none where there is no folder."""
    folder = books_folder()
    if not os.path.isdir(folder):  # noqa: PTH112
        return []
    from pathlib import Path

    return [_read(path) for path in sorted(Path(folder).glob("*.toml"))]


def _read(path: Path) -> BookText:
    try:
        with path.open(encoding="utf-8-sig") as file:
            # One more than a book may have, so that its reader tells what is too long.
            return BookText(str(path), file.read(LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BookError(str(path), "", f"cannot be read: {reason}") from None
