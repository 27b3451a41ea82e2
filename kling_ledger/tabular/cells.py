"""Cells: how one value is written where only text fits."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from kling_pricing.money import plain


class Written(str):
    """A number as JSON or a workbook writes it: with a point where it has one, never in groups."""

    __slots__ = ()


_QUOTE = '"'
_PARTS_CELLS = re.compile('[",\r\n]')
_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


def guarded(value: object) -> object:
    """Return a value as a cell of CSV that no spreadsheet takes for a formula."""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    # A number below zero begins like a formula and is none: with an apostrophe it would be text.
    if isinstance(value, str) and value.startswith(_FORMULA_MARKS) and not is_number(value):
        return f"'{value}"
    return value


def is_number(text: str) -> bool:
    """Whether text is a plain decimal, with a minus or without."""
    return text.removeprefix("-").replace(".", "", 1).isdigit()


def csv_text(value: object) -> str:
    """Return a value as it is written between the commas of CSV; None is written as nothing."""
    # Nearly every cell is a text that no spreadsheet takes for a formula.
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
    """Write JSON on one line; what JSON has no word for is written as text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
