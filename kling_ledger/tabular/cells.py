"""Cells: how one value is written in a format that holds only text."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from kling_pricing.money import plain


class Written(str):
    """A number as JSON or a workbook writes it: with a decimal point if needed, never grouped."""

    __slots__ = ()


_QUOTE = '"'
_PARTS_CELLS = re.compile('[",\r\n]')
_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


def guarded(value: object) -> object:
    """Return a value as a CSV cell that no spreadsheet takes for a formula."""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    # A negative number begins like a formula but is not one: an apostrophe would make it text.
    if isinstance(value, str) and value.startswith(_FORMULA_MARKS) and not is_number(value):
        return f"'{value}"
    return value


def is_number(text: str) -> bool:
    """Whether text is a plain decimal, with or without a minus."""
    return text.removeprefix("-").replace(".", "", 1).isdigit()


def csv_text(value: object) -> str:
    """Return a value as written between the commas of CSV; None becomes an empty text."""
    # Nearly every cell is a text that cannot be mistaken for a formula.
    if type(value) is not str or value[:1] in _FORMULA_MARKS:
        value = "" if value is None else str(guarded(cell_text(value)))
    return f'"{value.replace(_QUOTE, 2 * _QUOTE)}"' if _PARTS_CELLS.search(value) else value


def cell_text(value: object) -> object:
    """Write a value as one cell: `true`, compact JSON, a plain decimal; all else stays as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return json_text(value)
    return plain(value) if isinstance(value, Decimal) else value


def json_text(value: object) -> str:
    """Write JSON on one line; values that JSON cannot express become text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
