"""A report's main table as JSON lines: each row an object of its own, as in the JSON."""

from __future__ import annotations

import io
from typing import IO

from kling_reports.render.json import members, objects
from kling_reports.report import Report


def render(report: Report) -> bytes:
    """Return the main table as JSON lines in UTF-8, without totals."""
    written_to = io.BytesIO()
    write(report, written_to)
    return written_to.getvalue()


def write(report: Report, to: IO[bytes]) -> None:
    """Write what `render` returns; only one batch of a long table is in memory at a time."""
    table = report.main
    layout = f"{{{members(table.columns, between=', ')}}}\n"
    for frame in table.batches():
        to.write("".join(objects(table, frame, report.timezone, layout=layout)).encode())
