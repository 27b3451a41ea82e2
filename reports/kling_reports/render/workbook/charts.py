"""The sheet of charts: native ones, over figures beside them in the same sheet.

Only the declared picture of a table is drawn, one chart per unit: units never share an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from kling_pricing.money import from_micro
from kling_reports.render import pictures
from kling_reports.render.pictures import Bullet, Drawn
from kling_reports.render.svg.parts import place_text
from kling_reports.render.values import harmless, visible
from kling_reports.render.workbook.book import Book
from kling_reports.report import Kind, Report, Table

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

NAME: Final = "Charts"
"""The name of the sheet."""

_COLOURS: Final = (
    "#2F6DB5", "#E1812C", "#2A9D8F", "#8C6BB1", "#C9A227", "#C8553D", "#5FA8D3", "#8B95A1",
)  # fmt: skip
_INK: Final = "#17202B"
_RULE: Final = "#DFE3E8"
_WIDTH, _HEIGHT = 880, 320
_ROWS: Final = 17
"""The rows of the sheet that a chart takes, including the space under it."""

_LAST_COLUMN: Final = 13
_FIGURES: Final = _LAST_COLUMN + 2
"""The first column of the figures: to the right of the charts, and not printed."""

_FORMS: Final[dict[Kind, str]] = {"money": "#,##0.00", "percent": "0.0%"}


@dataclass(frozen=True, slots=True)
class Block:
    """The figures of one chart: a row for each place along it, a column for each series.

    `colours` has each series' position among those of all units, so that it looks the same in all
    charts. `limit` says that the last series is drawn as a line to compare the others with.
    """

    title: str
    along: str
    value: str
    kind: Kind
    places: Sequence[str]
    series: Sequence[str]
    colours: Sequence[int]
    values: Sequence[Sequence[int]]
    is_stacked: bool
    limit: bool = False


def blocks(report: Report) -> list[Block]:
    """Return what is drawn of a report, table by table."""
    return [block for table in report.tables for block in _of_table(table)]


def write(book: Book, drawn: Sequence[Block]) -> None:
    """Add the sheet to a workbook."""
    sheet = book.add(NAME)
    book.text(sheet, (0, 0), "Charts", "title")
    book.text(sheet, (0, _FIGURES), "The figures of these charts", "title")
    at = 2
    for place, block in enumerate(drawn):
        chart = _chart(book, block, at)
        _write_figures(book, sheet, block, at)
        # Not on the line itself, where a page break may be.
        sheet.insert_chart(2 + place * _ROWS, 0, chart, {"y_offset": 4})
        at += len(block.places) + 3
    last = max(2 + len(drawn) * _ROWS, 3)
    sheet.print_area(0, 0, last, _LAST_COLUMN)
    sheet.set_h_pagebreaks([2 + place * _ROWS for place in range(2, len(drawn), 2)])
    sheet.set_column(_FIGURES, _FIGURES, 24)
    sheet.set_column(_FIGURES + 1, _FIGURES + 10, 16)


def _of_table(table: Table) -> Iterator[Block]:
    along, across = pictures.over_time(table), pictures.bars(table)
    if along is not None:
        yield from _of_panels(table, along, f"by {along.step}")
    if across is not None and table.picture is not None:
        titles = {column.name: column.title for column in table.columns}
        yield from _of_panels(table, across, titles[table.picture.x])
    known = sorted(pictures.bullets(table), key=lambda one: one.unit)
    for unit, group in groupby(known, key=lambda one: one.unit):
        yield _of_bullets(table, unit, list(group)[: pictures.MOST_BULLETS])


def _of_panels(table: Table, drawn: Drawn, along: str) -> Iterator[Block]:
    step = drawn.step
    for panel in drawn.panels:
        values = [panel.at(place, drawn.series) for place in panel.places]
        kept = [at for at, _ in enumerate(drawn.series) if any(row[at] for row in values)]
        if len(panel.places) * len(kept) < 2:
            # A single bar is as tall as the chart, whatever its value.
            continue
        yield Block(
            title=_joined(table.title, panel.unit),
            along=along,
            value=_joined(drawn.column.title, panel.unit),
            kind=drawn.column.kind,
            places=[place_text(one, step) if step else str(one) for one in panel.places],
            series=[drawn.series[at] or drawn.column.title for at in kept],
            colours=kept,
            values=[[row[at] for at in kept] for row in values],
            is_stacked=drawn.column.adds_up,
        )


def _of_bullets(table: Table, unit: str, known: Sequence[Bullet]) -> Block:
    titles = {column.name: (column.title, column.kind) for column in table.columns}
    picture = table.picture
    names = [] if picture is None else [picture.value, picture.series, picture.limit]
    kept = [name for name in names if name is not None]
    values = [[one.value, one.on_top, one.limit] for one in known]
    has_series = picture is not None and picture.series is not None
    return Block(
        title=_joined(table.title, unit),
        along="" if picture is None else titles[picture.x][0],
        value=unit,
        kind=titles[kept[0]][1],
        places=[one.name for one in known],
        series=[titles[name][0] for name in kept],
        colours=range(len(kept)),
        values=values if has_series else [[value, limit] for value, _, limit in values],
        is_stacked=True,
        limit=True,
    )


def _chart(book: Book, block: Block, at: int) -> Any:
    """Make a chart of the figures whose heads are in row `at`."""
    kind = {"type": "column", "subtype": "stacked" if block.is_stacked else "clustered"}
    chart: Any = book.file.add_chart(kind)
    bars = block.series[:-1] if block.limit else block.series
    for place, _ in enumerate(bars):
        fill = {"color": _COLOURS[block.colours[place] % len(_COLOURS)]}
        chart.add_series({**_cells(block, at, place), "fill": fill, "gap": 60})
    if block.limit:
        line: Any = book.file.add_chart({"type": "line"})
        marker = {
            "type": "long_dash",
            "size": 18,
            "border": {"color": _INK},
            "fill": {"color": _INK},
        }
        line.add_series({**_cells(block, at, len(bars)), "line": {"none": True}, "marker": marker})
        chart.combine(line)
    font = {"color": _INK, "size": 10}
    chart.set_title({"name": _text(block.title), "name_font": {**font, "size": 14}})
    chart.set_x_axis({"name": _text(block.along), "name_font": font, "num_font": font})
    chart.set_y_axis(
        {
            "name": _text(block.value),
            "name_font": font,
            "num_font": font,
            "num_format": _FORMS.get(block.kind, "#,##0"),
            "major_gridlines": {"visible": True, "line": {"color": _RULE}},
            # Bars that do not start at zero would distort the proportions.
            "min": None if any(value < 0 for row in block.values for value in row) else 0,
        }
    )
    chart.set_legend({"position": "bottom"} if len(block.series) > 1 else {"none": True})
    chart.set_size({"width": _WIDTH, "height": _HEIGHT})
    return chart


def _cells(block: Block, at: int, place: int) -> dict[str, Any]:
    """Return the cells of a series' name, places and values."""
    first, last, column = at + 1, at + len(block.places), _FIGURES + 1 + place
    return {
        "name": [NAME, at, column],
        "categories": [NAME, first, _FIGURES, last, _FIGURES],
        "values": [NAME, first, column, last, column],
    }


def _write_figures(book: Book, sheet: Worksheet, block: Block, at: int) -> None:
    book.text(sheet, (at, _FIGURES), f"{block.title}, {block.along}", "head")
    for across, name in enumerate(block.series, start=_FIGURES + 1):
        book.text(sheet, (at, across), name, "head_figure")
    scaled = block.kind in {"money", "percent"}
    for down, (place, values) in enumerate(zip(block.places, block.values, strict=True), at + 1):
        book.text(sheet, (down, _FIGURES), place)
        for across, value in enumerate(values, start=_FIGURES + 1):
            number = from_micro(value) if scaled else value
            sheet.write_number(down, across, float(number), book.formats[block.kind])


def _joined(title: str, unit: str | None) -> str:
    return f"{title}, {unit}" if unit else title


def _text(text: str) -> str:
    """Return text that no chart takes for a formula."""
    return visible(harmless(text))
