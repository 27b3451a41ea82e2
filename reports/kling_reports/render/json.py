"""A report as JSON: everything it has, amounts as decimal strings."""

from __future__ import annotations

import json
from typing import Any

from kling_reports.render.values import written
from kling_reports.report import Report, Table


def render(report: Report) -> bytes:
    """Return the report as JSON in UTF-8: its tables by name, each row by the columns' keys."""
    tables = {table.name: _table(table, report.timezone) for table in report.tables}
    text = json.dumps({**heading(report), "tables": tables}, indent=2, ensure_ascii=False)
    return f"{text}\n".encode()


def heading(report: Report) -> dict[str, Any]:
    """Return how the question was asked, without its tables."""
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
    """Return what each column of a table is."""
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


def _table(table: Table, zone: str) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": columns(table),
        "rows": [_row(table, row) for row in table.rows(zone)],
        "totals": [_row(table, row) for row in table.total_rows(zone)],
    }


def _row(table: Table, row: tuple[Any, ...]) -> dict[str, Any]:
    cells = zip(table.columns, row, strict=True)
    return {column.key: written(value, column.kind) for column, value in cells}
