"""Own books: where the price books of a user lie, beside those that come with the package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from kling_pricing.errors import BookError

if TYPE_CHECKING:
    from pathlib import Path

    from kling_pricing.book_reader import BookText

BOOKS_VARIABLE: Final = "KLING_LEDGER_BOOKS"
"""Names the folder, in place of `books` in the user's settings."""

_SUFFIX: Final = ".toml"
_BESIDE: Final = (".etag",)
"""Endings of what a pull keeps beside a book."""


def books_folder(environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder of the user's own books: the variable's, or `books` in the settings.

    It need not exist.
    """
    return in_settings("books", BOOKS_VARIABLE, environ)


def in_settings(name: str, variable: str, environ: Mapping[str, str]) -> str:
    """Return where a variable says that something is, else its name in the user's settings."""
    named = environ.get(variable)
    if named:
        return os.path.expanduser(named)  # noqa: PTH111
    if sys.platform == "linux":
        # The same answer as below, without the import: every command looks here first. So it is a
        # text too: pathlib loads the parsing of URLs.
        settings = environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
        return os.path.join(os.path.expanduser(settings), "kling-ledger", name)  # noqa: PTH111, PTH118
    from platformdirs import user_config_path

    return str(user_config_path("kling-ledger", appauthor=False) / name)


def folder_at_hand(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the user's own books; None where nobody named one and none is there.

    Raises BookError for a folder that the variable names and that is not there: whoever set it
    means to be charged by what is in it.
    """
    folder = books_folder(environ)
    if os.path.isdir(folder):  # noqa: PTH112
        from pathlib import Path

        return Path(folder)
    if environ.get(BOOKS_VARIABLE):
        raise BookError(
            folder, "", f"{BOOKS_VARIABLE} names this folder of price books, but it does not exist"
        )
    return None


def books_in(folder: Path) -> list[BookText]:
    """Return the books in a folder, by name: every file that ends in .toml, in any case."""
    return [
        read_file(path)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == _SUFFIX and path.is_file()
    ]


def others_in(folder: Path) -> Iterator[str]:
    """Name the files of a folder that are read by nobody, and that somebody may take for books."""
    for path in sorted(folder.iterdir()):
        is_read = path.suffix.lower() in {_SUFFIX, *_BESIDE}
        if path.is_file() and not is_read and not path.name.startswith("."):
            yield str(path)


def read_file(path: Path) -> BookText:
    """Return a file as a book's text, with or without a byte order mark; else BookError."""
    from kling_pricing.book_reader import LARGEST, BookText

    try:
        with path.open(encoding="utf-8-sig") as file:
            # One more than a book may have, so that its reader tells what is too long.
            return BookText(str(path), file.read(LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BookError(str(path), "", f"cannot be read: {reason}") from None
