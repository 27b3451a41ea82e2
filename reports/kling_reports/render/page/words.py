"""What a page says before its tables: the findings, and the period beside the one before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from kling_reports import comparison
from kling_reports.render.markup import Markup, tag
from kling_reports.render.page import cells
from kling_reports.render.page.tables import head, id_of, section_id
from kling_reports.render.values import visible
from kling_reports.report import UNIT, Column, Report, Table

FINDINGS: Final = "findings"
_BESIDE: Final = "Beside the period before"


def leads_to(report: Report) -> dict[str, set[int]]:
    """Return the rows, by table, that findings link to."""
    found: dict[str, set[int]] = defaultdict(set)
    for table in report.tables:
        if table.name == FINDINGS:
            for row in _records(table):
                if row["row"] is not None:
                    found[row["table"]].add(row["row"])
    return found


def findings(table: Table, report: Report) -> Markup:
    """Return the findings as a list, each with a link to the row that proves it."""
    titles = {one.name: _short(one) for one in report.tables}
    entries = [tag("li", *_finding(row, titles)) for row in _records(table)]
    told = tag("ol", *entries) if entries else tag("p", visible(table.empty))
    return _section(table, "What to know", told, class_="findings")


def compared(table: Table) -> Markup:
    """Return the period beside the one before: a row for each figure, with its change."""
    name, _, name_before = table.title.partition(", beside ")
    if table.frame.empty:
        return _section(table, table.title, tag("p", visible(table.empty), class_="note"))
    heads = ["", name, name_before, "change"]
    rows = [row for one in _records(table) for row in _figures(table, one)]
    drawn = tag(
        "table",
        tag("caption", visible(table.title), class_="hidden"),
        tag("thead", tag("tr", *(head(visible(one), is_figure=bool(one)) for one in heads))),
        tag("tbody", *rows),
    )
    region = {"tabindex": 0, "role": "region", "aria_labelledby": f"{id_of(table)}-h"}
    return _section(table, _BESIDE, tag("div", drawn, class_="scroll", **region))


def _section(table: Table, title: str, *inside: Markup, class_: str | None = None) -> Markup:
    key = id_of(table)
    heading = tag("h2", visible(title), id=f"{key}-h")
    return tag("section", heading, *inside, id=key, aria_labelledby=f"{key}-h", class_=class_)


def _short(table: Table) -> str:
    """Return a table's title without its time: a link with it would not fit a narrow screen."""
    return _BESIDE if table.name == "comparison" else table.title.partition(":")[0]


def _finding(row: dict[str, Any], titles: dict[str, str]) -> Iterator[Markup]:
    yield tag("span", visible(row["finding"]))
    yield Markup(" ")
    place = section_id(row["table"])
    where = place if row["row"] is None else f"{place}-r{row['row']}"
    title = visible(titles.get(row["table"], row["table"]))
    yield tag(
        "a", f"See {title}", tag("span", f": {row['rule']}", class_="hidden"), href=f"#{where}"
    )


def _figures(table: Table, row: dict[str, Any]) -> Iterator[Markup]:
    columns = {column.name: column for column in table.columns}
    for name in comparison.FIGURES:
        column, unit = columns[name], str(row[UNIT])
        title = column.title if column.kind != "money" else f"{column.title}, {unit}"
        if column.kind != "money" and len(table.frame) > 1:
            title = f"{title} ({unit})"
        then, change = (columns[of(name)] for of in (comparison.before, comparison.change))
        yield tag(
            "tr",
            tag("th", visible(title[:1].upper() + title[1:]), scope="row"),
            *(_cell(row[one.name], one) for one in (column, then)),
            tag("td", _signed(row[change.name], column, change), class_="n"),
        )


def _cell(value: Any, column: Column) -> Markup:
    shown = cells.cell(value, column)
    return tag("td", shown.text or "not known", class_="n", title=shown.exact)


def _signed(value: Any, column: Column, change: Column) -> str:
    if value is None:
        return "–"
    text = cells.cell(value, change).text
    # The difference of two shares is not a share of one of them.
    return text.replace(" %", " points") if column.kind == "percent" else text


def _records(table: Table) -> Iterator[dict[str, Any]]:
    names = [column.name for column in table.columns]
    return (dict(zip(names, row, strict=True)) for row in table.rows())
