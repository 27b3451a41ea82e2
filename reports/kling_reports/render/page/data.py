"""The data of a page: what it shows as JSON, exact, for other programs."""

from __future__ import annotations

from collections.abc import Sequence

from kling_reports.render.json import columns, heading
from kling_reports.render.markup import Markup
from kling_reports.render.page.tables import Listed, as_json, compact
from kling_reports.report import Report


def data(report: Report, listed: Sequence[Listed]) -> Markup:
    """Return the page's data as JSON in which nothing ends a script or begins an element."""
    tables = ",".join(f"{compact(one.table.name)}:{{{_table(one, report)}}}" for one in listed)
    text = f'{compact(heading(report))[:-1]},"tables":{{{tables}}}}}'
    # A browser ends a script at `</script` wherever it stands, inside a string of JSON too; the
    # signs are only ever within strings, where the escape means the same.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _table(one: Listed, report: Report) -> str:
    table = one.table
    totals = [as_json(table, row) for row in table.total_rows(report.timezone)]
    parts = {
        "title": compact(table.title),
        "columns": compact(columns(table)),
        "count": str(table.count),
        # Rows are written once, when it is found out how many there is room for.
        "rows": f"[{','.join(one.data)}]",
        "totals": compact(totals),
    }
    return ",".join(f'"{name}":{text}' for name, text in parts.items())
