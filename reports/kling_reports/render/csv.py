"""A report's main table as CSV: plain numbers, and text that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv

from kling_reports.render.values import harmless, written
from kling_reports.report import Cell, Kind, Report


class _Lines(list[str]):
    """A file of lines that end in LF, as in the rest of the command line.

    The writer believes that they end in CR LF: else it would not quote a text that holds a CR.
    """

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def render(report: Report) -> bytes:
    """Return the main table as CSV in UTF-8, without totals: whoever adds its rows has them."""
    table = report.main
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(harmless(column.key) for column in table.columns)
    kinds = [column.kind for column in table.columns]
    for row in table.rows(report.timezone):
        writer.writerow(map(_cell, row, kinds))
    return "".join(lines).encode()


def _cell(value: Cell, kind: Kind) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return harmless(value) if isinstance(value, str) else written(value, kind)
