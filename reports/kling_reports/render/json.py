"""A report as JSON: everything it has, with amounts as decimal strings, written piece by piece."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring
from typing import IO, Any, Final

import pandas as pd

from kling_reports.render.columns import texts
from kling_reports.report import Column, Report, Table, cells

_BARE: Final = ("integer", "seconds")
_FLAGS: Final = {None: "null", True: "true", False: "false"}


def render(report: Report) -> bytes:
    """Return the report as JSON in UTF-8: its tables by name, each row by the columns' keys."""
    written_to = io.BytesIO()
    write(report, written_to)
    return written_to.getvalue()


def write(report: Report, to: IO[bytes]) -> None:
    """Write what `render` returns; only one batch of a long table is in memory at a time."""
    # The tables go between the braces of the last member, which is empty here.
    head, _, tail = _indented({**heading(report), "tables": {}}).rpartition("{}")
    to.write(f"{head}{{".encode())
    for place, table in enumerate(report.tables):
        to.write(f"{',' * (place > 0)}\n    {encode_basestring(table.name)}: ".encode())
        for piece in _table(table, report.timezone):
            to.write(piece.encode())
    to.write(f"\n  }}{tail}\n".encode())


def heading(report: Report) -> dict[str, Any]:
    """Return the question, without the tables."""
    span = report.span
    return {
        "report": report.name,
        "title": report.title,
        "question": report.question,
        "generated_at": report.generated_at.isoformat(),
        "from": span.starts_at and span.starts_at.isoformat(),
        "to": span.ends_at and span.ends_at.isoformat(),
        "period": report.period,
        "timezone": report.timezone,
        "filters": list(report.filters),
        "currency": report.currency,
        "notes": list(report.notes),
    }


def columns(table: Table) -> list[dict[str, Any]]:
    """Return the description of each column of a table."""
    return [
        {
            "key": column.key,
            "title": column.title,
            "kind": column.kind,
            "meaning": column.meaning,
            "adds_up": column.adds_up,
        }
        for column in table.columns
    ]


def objects(table: Table, frame: pd.DataFrame, zone: str, *, layout: str) -> Iterator[str]:
    """Return each row of a frame as a JSON object; `layout` is what `members` made of its keys."""
    values = (_values(frame[column.name], column, zone) for column in table.columns)
    return (layout % row for row in zip(*values, strict=True))


def members(columns: Sequence[Column], *, between: str) -> str:
    """Return the members of an object, with `%s` in place of each value."""
    keys = (encode_basestring(column.key).replace("%", "%%") for column in columns)
    return between.join(f"{key}: %s" for key in keys)


def _table(table: Table, zone: str) -> Iterator[str]:
    head = _indented({"title": table.title, "columns": columns(table)}, by=4)
    yield f'{head.removesuffix("    }").rstrip()},\n      "rows": '
    yield from _array(table, table.batches(), zone)
    yield ',\n      "totals": '
    yield from _array(table, () if table.totals is None else (table.totals,), zone)
    yield "\n    }"


def _array(table: Table, frames: Any, zone: str) -> Iterator[str]:
    inside = members(table.columns, between=",\n          ")
    layout = f"        {{\n          {inside}\n        }}"
    before = "[\n"
    for frame in frames:
        if len(frame):
            yield before + ",\n".join(objects(table, frame, zone, layout=layout))
            before = ",\n"
    yield "[]" if before == "[\n" else "\n      ]"


def _values(values: pd.Series[Any], column: Column, zone: str) -> list[str]:
    """Return a column as JSON: numbers and flags unchanged, everything else as strings."""
    if column.kind == "flag":
        return [_FLAGS[value] for value in cells(values, "flag", zone)]  # type: ignore[index]
    write = str if column.kind in _BARE else encode_basestring
    found = texts(values, column.kind, zone)
    return ["null" if text is None else write(text) for text in found]


def _indented(thing: Any, *, by: int = 0) -> str:
    text = json.dumps(thing, indent=2, ensure_ascii=False)
    # JSON text contains no line break, so only the lines of the object are indented.
    return text.replace("\n", f"\n{' ' * by}")
