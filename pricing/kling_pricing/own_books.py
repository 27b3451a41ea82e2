"""Own books: where a user's price books are, besides the bundled ones."""

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
"""Names the folder, instead of `books` in the user's settings."""

_SUFFIX: Final = ".toml"
_BESIDE: Final = (".etag",)
"""Endings of the files that a pull keeps beside a book."""


def books_folder(environ: Mapping[str, str] = os.environ) -> str:
    """Return the folder of the user's own books: the variable's, or `books` in the settings.

    It need not exist.
    """
    return in_settings("books", BOOKS_VARIABLE, environ)


def in_settings(name: str, variable: str, environ: Mapping[str, str]) -> str:
    """Return the path that a variable gives, or else the name within the user's settings."""
    named = environ.get(variable)
    if named:
        return os.path.expanduser(named)  # noqa: PTH111
    if sys.platform == "linux":
        # The same result as below, without the import: every command looks here first. It is a text
        # for the same reason: pathlib loads URL parsing.
        settings = environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
        return os.path.join(os.path.expanduser(settings), "kling-ledger", name)  # noqa: PTH111, PTH118
    from platformdirs import user_config_path

    return str(user_config_path("kling-ledger", appauthor=False) / name)


def folder_at_hand(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the user's own books; None if none is named and none exists.

    Raises BookError if the variable names a folder that does not exist: its prices were meant to be
    used.
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
    """Name the files of a folder that are not read but could be mistaken for books."""
    for path in sorted(folder.iterdir()):
        is_read = path.suffix.lower() in {_SUFFIX, *_BESIDE}
        if path.is_file() and not is_read and not path.name.startswith("."):
            yield str(path)


def read_file(path: Path) -> BookText:
    """Return a file as a book's text, with or without a byte order mark; else BookError."""
    from kling_pricing.book_reader import LARGEST, BookText

    try:
        with path.open(encoding="utf-8-sig") as file:
            # One character more than a book may have, so that its reader reports one that is too
            # long.
            return BookText(str(path), file.read(LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BookError(str(path), "", f"cannot be read: {reason}") from None
