"""A report on a terminal: tables that fit it, a sparkline for time, a bar for each budget."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from kling_pricing.money import from_micro
from kling_reports.render import pictures
from kling_reports.render.pictures import Bullet, Drawn, Panel
from kling_reports.render.values import facts, lines, shown, total_lines, visible
from kling_reports.report import Column, Report, Table

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = 2
_NARROW: Final = 12
_BAR: Final = 24


def render(report: Report, *, width: int, is_terminal: bool = False) -> str:
    """Return the report as lines of at most a width, where its figures leave that choice.

    Columns give way in the tables' own order; then text is folded. A figure is never cut. Colour
    is for terminals, and NO_COLOR turns it off.
    """
    parts = [part for table in report.tables for part in _table(table, report, width)]
    parts += [(Text(), width), *((line, width) for line in _notes(report))]
    return "".join(_printed(part, wide, is_terminal=is_terminal) for part, wide in parts)


def _printed(part: Text, width: int, *, is_terminal: bool) -> str:
    """Return what rich makes of one part, without blanks at the ends of lines."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=is_terminal,
        legacy_windows=False,
        highlight=False,
    )
    with console.capture() as printed:
        console.print(part, soft_wrap=part.no_wrap or False)
    return "".join(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def _table(table: Table, report: Report, width: int) -> Iterator[tuple[Text, int]]:
    """Return the parts of a table and how wide each is printed."""
    if len(report.tables) > 1:
        yield Text(f"\n{visible(table.title)}", style="bold"), width
    if table.frame.empty:
        yield Text(visible(table.empty)), width
        return
    for line in _pictured(table, width):
        yield line, max(width, line.cell_len)
    body = _visible(lines(table, report.timezone))
    totals = _visible(total_lines(table, report.timezone))
    kept = _that_fit(table, body + totals, width)
    widths = _widths(table, kept, body + totals, width)
    if sum(widths.values()) + _GAP * len(widths) > width:
        yield _records(table, body + totals), width
        return
    yield _grid(table, widths, body, totals), width
    left_out = [one.title for place, one in enumerate(table.columns) if place not in kept]
    if left_out:
        named = ", ".join(map(visible, left_out))
        yield Text(f"No room here for {named}; --format json has all.", style="dim"), width


def _visible(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(map(visible, row)) for row in rows]


def _grid(
    table: Table,
    widths: Mapping[int, int],
    body: Sequence[Sequence[str]],
    totals: Sequence[Sequence[str]],
) -> Text:
    """Lay a table out, line by line: rich's own tables take seconds for some thousand rows."""
    grid = Text(no_wrap=True)
    heads = [visible(column.title) for column in table.columns]
    _append_row(grid, table, widths, heads, "bold")
    grid.append(f" {'─' * (sum(widths.values()) + _GAP * (len(widths) - 1))}\n", style="dim")
    for row in body:
        _append_row(grid, table, widths, row)
    if totals:
        grid.append("\n")
    for row in totals:
        _append_row(grid, table, widths, row, "bold")
    return grid


def _append_row(
    grid: Text, table: Table, widths: Mapping[int, int], row: Sequence[str], style: str = ""
) -> None:
    """Append the lines of one row: more than one where a text or a head is folded."""
    folded = {place: _folded(row[place], width) for place, width in widths.items()}
    for at in range(max(map(len, folded.values()))):
        grid.append(" ")
        for place, width in widths.items():
            text = folded[place][at] if at < len(folded[place]) else ""
            is_figure = table.columns[place].is_figure
            is_negative = is_figure and text.lstrip().startswith("-")
            blank = " " * (width - cell_len(text))
            told = f"{blank}{text}" if is_figure else f"{text}{blank}"
            grid.append(f"{told}{' ' * _GAP}", f"{style} red".strip() if is_negative else style)
        grid.append("\n")


def _folded(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    lines = textwrap.wrap(text, width) or [""]
    return [piece for line in lines for piece in chop_cells(line, width)] or [""]


def _widths(
    table: Table, kept: Sequence[int], rows: Sequence[Sequence[str]], width: int
) -> dict[int, int]:
    """Return how wide each column is; texts, and heads between their words, are folded to fit."""
    natural = _natural_widths(table, rows)
    if sum(natural[place] for place in kept) <= width:
        return {place: natural[place] - _GAP for place in kept}
    least = {place: _least(table.columns[place], [row[place] for row in rows]) for place in kept}
    room = width - sum(least.values()) - _GAP * len(least)
    for place in kept:
        more = max(min(natural[place] - _GAP - least[place], room), 0)
        least[place] += more
        room -= more
    return least


def _records(table: Table, rows: Sequence[Sequence[str]]) -> Text:
    """Write each row as lines of its own, where even its figures do not stand beside each other."""
    heads = [visible(column.title) for column in table.columns]
    longest = max(map(len, heads))
    told = Text(no_wrap=True)
    for row in rows:
        for head, text in zip(heads, row, strict=True):
            if text:
                told.append(f"{head:>{longest}}  ", style="dim")
                told.append(f"{text.strip()}\n")
        told.append("\n")
    return told


def _is_whole(column: Column) -> bool:
    """Whether a cut would make it something else: half a figure, half an id, half a date."""
    return column.kind != "text" or column.name == "id"


def _least(column: Column, texts: Sequence[str]) -> int:
    """Return the least width of a column; a head can be folded between its words."""
    longest = max(map(cell_len, texts), default=0)
    word = max(map(cell_len, visible(column.title).split()), default=0)
    if _is_whole(column):
        return max(longest, word)
    return max(min(longest, _NARROW), min(word, _NARROW))


def _that_fit(table: Table, rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the places of the columns that there is room for."""
    kept = list(range(len(table.columns)))
    places = {column.name: place for place, column in enumerate(table.columns)}
    natural = _natural_widths(table, rows)
    for name in table.gives_way:
        if sum(natural[place] for place in kept) <= width:
            break
        if places.get(name) in kept:
            kept.remove(places[name])
    return kept


def _natural_widths(table: Table, rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide each column is where nothing is folded, with the gap after it."""
    heads = (cell_len(visible(column.title)) for column in table.columns)
    cells = (max(map(cell_len, texts)) for texts in zip(*rows, strict=True))
    return [max(pair) + _GAP for pair in zip(heads, cells, strict=True)]


def _pictured(table: Table, width: int) -> Iterator[Text]:
    drawn = pictures.over_time(table)
    if drawn is not None:
        yield from _sparklines(drawn, width)
    known = pictures.bullets(table)
    longest = max((len(visible(one.name)) for one in known), default=0)
    for one in known:
        yield _bar(one, min(longest, max(width - _BAR - 10, 8)))


def _sparklines(drawn: Drawn, width: int) -> Iterator[Text]:
    names = [visible(name) or drawn.column.title for name in drawn.series]
    longest = min(max(map(len, names)), 24)
    for panel in drawn.panels:
        for name, series in zip(names, drawn.series, strict=True):
            values = [panel.values.get((place, series), 0) for place in panel.places]
            if any(values):
                sparks = _sparks(values, max(width - longest - 40, 10))
                whole = f"{_amount(sum(values), drawn)} {panel.unit or ''}"
                yield Text.assemble(
                    f"{name[:longest]:{longest}}  ", (sparks, "cyan"), f"  {whole.strip()}"
                )
        yield Text(_between(panel, drawn), style="dim")


def _between(panel: Panel, drawn: Drawn) -> str:
    return f"by {drawn.step}, {panel.places[0]} to {panel.places[-1]}"


def _amount(value: int, drawn: Drawn) -> str:
    return shown(from_micro(value) if drawn.column.kind == "money" else value, drawn.column)


def _sparks(values: Sequence[int], most: int) -> str:
    """Draw the last values that there is room for; a height of nothing is a space."""
    kept = values[-most:]
    highest = max(*kept, 1)
    steps = len(_SPARKS)
    return "".join(
        " " if value <= 0 else _SPARKS[(value * steps - 1) // highest if value < highest else -1]
        for value in kept
    )


def _bar(one: Bullet, longest: int) -> Text:
    name = visible(one.name)
    whole = max(one.limit, 1)
    spent = min(max(one.value, 0) * _BAR // whole, _BAR)
    used = min(max(one.used, spent) * _BAR // whole, _BAR)
    share = f"{one.used * 100 / whole:,.0f} %" if one.limit > 0 else "limit 0"
    style = "red" if one.used > one.limit else "yellow" if one.used * 5 > one.limit * 4 else "green"
    return Text.assemble(
        f"{name[:longest]:{longest}}  ",
        ("█" * spent, style),
        ("▒" * (used - spent), style),
        ("·" * (_BAR - used), "dim"),
        f"  {share:>6}",
    )


def _notes(report: Report) -> Iterator[Text]:
    told = [f"{name}: {text}" for name, text in facts(report)]
    for line in (*told, *report.notes):
        yield Text(visible(line), style="dim")
