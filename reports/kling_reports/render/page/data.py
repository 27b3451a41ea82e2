"""The data of a page: its content as exact JSON, for other programs."""

from __future__ import annotations

from collections.abc import Sequence

from kling_reports.render.json import columns, heading
from kling_reports.render.markup import Markup
from kling_reports.render.page.tables import Listed, as_json, compact
from kling_reports.report import Report


def data(report: Report, listed: Sequence[Listed]) -> Markup:
    """Return the page's data as JSON that cannot end a script or begin an element."""
    tables = ",".join(f"{compact(one.table.name)}:{{{_table(one, report)}}}" for one in listed)
    text = f'{compact(heading(report))[:-1]},"tables":{{{tables}}}}}'
    # A browser ends a script at `</script` anywhere, even in a JSON string; these characters occur
    # only in strings, where the escape means the same.
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
        # Rows are written only once, when the room for them is measured.
        "rows": f"[{','.join(one.data)}]",
        "totals": compact(totals),
    }
    return ",".join(f'"{name}":{text}' for name, text in parts.items())
