"""A report's main table as CSV: plain numbers, and text that no spreadsheet takes for a formula.

The columns of KEYS are unchanged: programs look them up.
"""

from __future__ import annotations

import csv
import io
from typing import IO, Any, Final

import pandas as pd

from kling_reports.render.columns import KEYS, texts
from kling_reports.render.values import harmless
from kling_reports.report import Column, Report, cells

_FLAGS: Final = {None: None, True: "yes", False: "no"}


class _Lines(list[str]):
    """A file whose lines end in LF, as in the rest of the command line.

    The CSV writer is told CR LF: otherwise it would not quote a text that contains a CR.
    """

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def render(report: Report) -> bytes:
    """Return the main table as CSV in UTF-8, without totals: its rows add up to them."""
    written_to = io.BytesIO()
    write(report, written_to)
    return written_to.getvalue()


def write(report: Report, to: IO[bytes]) -> None:
    """Write what `render` returns; only one batch of a long table is in memory at a time."""
    table = report.main
    to.write(_lines([[harmless(column.key)] for column in table.columns]))
    for frame in table.batches():
        to.write(_lines([_cells(frame[one.name], one, report.timezone) for one in table.columns]))


def _lines(columns: list[list[str | None]]) -> bytes:
    lines = _Lines()
    csv.writer(lines, lineterminator="\r\n").writerows(zip(*columns, strict=True))
    return "".join(lines).encode()


def _cells(values: pd.Series[Any], column: Column, zone: str) -> list[str | None]:
    if column.kind == "flag":
        return [_FLAGS[value] for value in cells(values, "flag", zone)]  # type: ignore[index]
    found = texts(values, column.kind, zone)
    if column.kind != "text" or column.name in KEYS:
        return found
    return [None if text is None else harmless(text) for text in found]
