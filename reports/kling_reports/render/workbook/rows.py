"""The rows of a sheet as the text in its file: column by column, not cell by cell.

XlsxWriter makes the file and everything that is set once: heads, totals, formulas, widths. It
writes one sample row without values, for its formats; the rows made here replace it. Writing cell
by cell would take four times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from kling_reports.render.columns import KEYS, once_each, texts
from kling_reports.render.values import harmless, visible
from kling_reports.render.workbook.layout import FIRST_YEAR, Sheet, cell
from kling_reports.report import Column, cells

_LONGEST_TEXT: Final = 32_767
"""The most characters of a cell; a longer text would make the file need repair."""

_ESCAPED: Final = re.compile("_x[0-9a-fA-F]{4}_")
_FIRST_DAY: Final = np.datetime64("1899-12-30", "us")
_DAY_US: Final = 86_400_000_000
_BLANK: Final = "/>"
_FLAGS: Final[Mapping[Any, str | None]] = {None: None, True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A row without values, cut out of a sheet's file, with the text before and after it.

    `formats` has each cell's format number, by the letters of its column.
    """

    before: str
    after: str
    formats: Mapping[str, str]


def sample_of(file: str, one: Sheet) -> Sample:
    """Cut the last row out of a sheet's file, and correct the sheet's extent there."""
    number = one.first_row + 1
    row = re.search(rf'<row r="{number}".*?</row>(?=</sheetData>)', file, re.DOTALL)
    if row is None:
        raise ValueError(f"{one.name}: the sheet does not end with the row that shows its formats")
    found = re.findall(rf'<c r="([A-Z]+){number}"(?: s="([0-9]+)")?', row[0])
    last = one.last_column if one.marks is None else one.marks
    reach = f'<dimension ref="A1:{cell(one.last_row, last).replace("$", "")}"/>'
    before = re.sub(r"<dimension [^>]*/>", reach, file[: row.start()], count=1)
    return Sample(before, file[row.end() :], dict(found))


def rows(one: Sheet, frame: pd.DataFrame, first: int, sample: Sample, zone: str) -> str:
    """Return rows of a sheet's table as text, starting at the sheet's row `first`."""
    numbers = list(range(first + 1, first + 1 + len(frame)))
    layout = ['<row r="%d">']
    values: list[Sequence[object]] = [numbers]
    for place, column_values in _columns(one, frame, first, zone):
        letters = cell(0, place)[1:].partition("$")[0]
        form = f' s="{sample.formats[letters]}"' if sample.formats.get(letters) else ""
        layout.append(f'<c r="{letters}%d"{form}%s')
        values += [numbers, column_values]
    layout.append("</row>")
    whole = "".join(layout)
    return "".join([whole % row for row in zip(*values, strict=True)])


def _columns(
    one: Sheet, frame: pd.DataFrame, first: int, zone: str
) -> Iterator[tuple[int, list[str]]]:
    """Return the columns of the sheet with their places: the table's, their twins, the marks."""
    for column, place in zip(one.table.columns, one.places, strict=True):
        yield place, _column(frame[column.name], column, zone)
        if column.name in one.inexact:
            digits = texts(frame[column.name], column.kind, zone)
            yield place + 1, once_each(digits, _text, missing=_BLANK)
    if one.marks is not None:
        formulas = map(one.mark_formula, range(first, first + len(frame)))
        yield one.marks, [f"><f>{_plain(formula[1:])}</f><v>1</v></c>" for formula in formulas]


def _column(values: pd.Series[Any], column: Column, zone: str) -> list[str]:
    """Return a column: for each value, the text after its cell's first tag."""
    kind = column.kind
    if kind in {"instant", "date", "month"}:
        return _times(values, column, zone)
    if column.is_figure:
        return once_each(texts(values, kind, zone), _number, missing=_BLANK)
    if kind == "flag":
        said = [_FLAGS[value] for value in cells(values, kind, zone)]
        return once_each(said, _text, missing=_BLANK)
    guard: Callable[[str], str] = str if column.name in KEYS else harmless
    return once_each(
        cells(values, kind, zone), lambda text: _text(visible(guard(text))), missing=_BLANK
    )


def _times(values: pd.Series[Any], column: Column, zone: str) -> list[str]:
    """Write times as days since 1899: sheets have no time zones, and no days before 1900."""
    local = values
    if column.kind == "instant":
        local = values.dt.tz_convert(zone).dt.tz_localize(None)
    if bool((local.dt.year < FIRST_YEAR).any()):
        told = texts(values, column.kind, zone)
        years = local.dt.year
    else:
        told, years = [], None
    at = (local.to_numpy("M8[us]") - _FIRST_DAY).astype("i8")
    written = [_number(repr(us / _DAY_US)) for us in at.tolist()]
    missing = values.isna().tolist()
    for place, is_missing in enumerate(missing):
        if is_missing:
            written[place] = _BLANK
        elif years is not None and years.iloc[place] < FIRST_YEAR:
            written[place] = _text(str(told[place]))
    return written


def _number(text: str) -> str:
    return f"><v>{text}</v></c>"


def _text(text: str) -> str:
    """Write a text as itself: escape markup, and anything like an escape of the format."""
    if len(text) > _LONGEST_TEXT // 2:
        # The limit counts UTF-16 units: a character beyond the first 65,536 counts twice.
        text = text.encode("utf-16-le")[: 2 * _LONGEST_TEXT].decode("utf-16-le", "ignore")
    told = _plain(_ESCAPED.sub(r"_x005F\g<0>", text))
    space = ' xml:space="preserve"' if text != text.strip() else ""
    return f' t="inlineStr"><is><t{space}>{told}</t></is></c>'


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
