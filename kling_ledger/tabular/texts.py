"""Texts: files that people write, or a spreadsheet writes for them."""

from __future__ import annotations

from pathlib import Path

from kling_ledger.errors import ConfigError


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with a mark of its order or not; ConfigError says why."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def delimiter_of(header: str) -> str:
    """Return what separates the columns of a CSV file: a comma, a semicolon or a tab."""
    return max(",;\t", key=header.count)
