"""A report on a terminal: tables that fit it, a sparkline for time, a bar for each budget.

A terminal shows the first rows of a long table. A file or a pipe gets all of them, which are read
twice: first to measure the columns.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import IO, Final

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from kling_pricing.money import from_micro
from kling_reports.render import pictures
from kling_reports.render.pictures import Bullet, Drawn, Panel
from kling_reports.render.shown import Measured
from kling_reports.render.values import facts, shown, visible
from kling_reports.report import Column, Report, Table

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = 2
_NARROW: Final = 12
_BAR: Final = 24


def render(report: Report, *, width: int, is_terminal: bool = False) -> str:
    """Return the report as lines within a width, if its figures allow that.

    Columns are dropped in the tables' own order; then text is folded. A figure is never cut. Colour
    is for terminals, and NO_COLOR turns it off.
    """
    return "".join(_pieces(report, width, is_terminal=is_terminal))


def write(report: Report, to: IO[bytes], *, width: int, is_terminal: bool = False) -> None:
    """Write what `render` returns; only one batch of a long table is in memory at a time."""
    for piece in _pieces(report, width, is_terminal=is_terminal):
        to.write(piece.encode())


def _pieces(report: Report, width: int, *, is_terminal: bool) -> Iterator[str]:
    show = partial(_printed, is_terminal=is_terminal)
    for table in report.tables:
        if len(report.tables) > 1:
            yield show(Text(f"\n{visible(table.title)}", style="bold"), width)
        if table.frame.empty:
            yield show(Text(visible(table.empty)), width)
            continue
        for line in _pictured(table, width):
            yield show(line, max(width, line.cell_len))
        # On a terminal nobody reads more than the first rows of a long table.
        listed = replace(table, stream=None) if is_terminal else table
        yield from _table(Measured(listed, report.timezone), width, is_terminal=is_terminal)
        if listed.count < table.count:
            told = f"These are the first {listed.count:,} of {table.count:,} rows; a pipe has all."
            yield show(Text(told, style="dim"), width)
    for line in (Text(), *_notes(report)):
        yield show(line, width)


def _printed(part: Text, width: int, *, is_terminal: bool) -> str:
    """Return rich's output for one part, without trailing blanks."""
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


def _table(one: Measured, width: int, *, is_terminal: bool) -> Iterator[str]:
    """Lay out a table: heads, rows, totals, and the columns that did not fit."""
    show = partial(_printed, width=width, is_terminal=is_terminal)
    kept = _that_fit(one, width)
    widths = _widths(one, kept, width)
    if sum(widths.values()) + _GAP * len(widths) > width:
        for texts in filter(any, one.all_texts()):
            yield show(_records(one, texts))
        yield from _left_out(one, _wanted(one), show)
        return
    is_plain = not is_terminal and not any(one.longest[at] > wide for at, wide in widths.items())

    def lay(texts: Sequence[Sequence[str]], style: str = "") -> str:
        if is_plain:
            return _plain(one.table, widths, texts)
        return show(_grid(one.table, widths, texts, style))

    yield lay([[head] for head in one.heads], "bold")
    rule = "─" * (sum(widths.values()) + _GAP * (len(widths) - 1))
    yield show(Text(f" {rule}", style="dim", no_wrap=True))
    for frame in one.table.batches():
        yield lay(one.texts(frame))
    if one.table.totals is not None and len(one.table.totals):
        yield f"\n{lay(one.total_texts(), 'bold')}"
    yield "\n"
    yield from _left_out(one, kept, show)


def _left_out(one: Measured, kept: Sequence[int], show: Callable[[Text], str]) -> Iterator[str]:
    """Say which columns are not shown: there is no room, or few people need them."""
    heads = [head for place, head in enumerate(one.heads) if place not in kept]
    if heads:
        yield show(Text(f"Not shown: {', '.join(heads)}; --format json has all.", style="dim"))


def _plain(table: Table, widths: Mapping[int, int], texts: Sequence[Sequence[str]]) -> str:
    """Lay out rows that need no folding or colour: only blanks are added."""
    columns = []
    for place, width in widths.items():
        set_apart = str.rjust if table.columns[place].is_figure else str.ljust
        # A wide character takes two places, so it gets fewer blanks.
        columns.append(
            [
                set_apart(text, width if text.isascii() else width + len(text) - cell_len(text))
                for text in texts[place]
            ]
        )
    gap = " " * _GAP
    return "".join([f" {gap.join(row)}".rstrip() + "\n" for row in zip(*columns, strict=True)])


def _grid(
    table: Table, widths: Mapping[int, int], texts: Sequence[Sequence[str]], style: str
) -> Text:
    """Lay out rows line by line: rich's own tables take seconds for a few thousand rows."""
    grid = Text(no_wrap=True)
    for row in zip(*texts, strict=True):
        _append_row(grid, table, widths, row, style)
    # It is printed as lines, so its last line end is added there.
    grid.right_crop(1)
    return grid


def _append_row(
    grid: Text, table: Table, widths: Mapping[int, int], row: Sequence[str], style: str = ""
) -> None:
    """Append the lines of one row: several if a text or a head is folded."""
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


def _widths(one: Measured, kept: Sequence[int], width: int) -> dict[int, int]:
    """Return the width of each column; texts, and heads between words, are folded to fit."""
    natural = one.natural_widths()
    if sum(natural[place] for place in kept) <= width:
        return {place: natural[place] - _GAP for place in kept}
    least = {place: _least(one.table.columns[place], one.longest[place]) for place in kept}
    room = width - sum(least.values()) - _GAP * len(least)
    for place in kept:
        more = max(min(natural[place] - _GAP - least[place], room), 0)
        least[place] += more
        room -= more
    return least


def _records(one: Measured, texts: Sequence[Sequence[str]]) -> Text:
    """Write each row as several lines, if even its figures do not fit side by side."""
    wanted = _wanted(one)
    longest = max(len(one.heads[place]) for place in wanted)
    told = Text(no_wrap=True)
    for row in zip(*texts, strict=True):
        for head, text in ((one.heads[place], row[place]) for place in wanted):
            if text:
                told.append(f"{head:>{longest}}  ", style="dim")
                told.append(f"{text.strip()}\n")
        told.append("\n")
    told.right_crop(1)
    return told


def _is_whole(column: Column) -> bool:
    """Whether a cut would change its meaning: half a figure, half an id, half a date."""
    return column.kind != "text" or column.name == "id" or column.name.endswith("_id")


def _least(column: Column, longest: int) -> int:
    """Return the least width of a column; a head can be folded between words."""
    word = max(map(cell_len, visible(column.title).split()), default=0)
    if _is_whole(column):
        return max(longest, word)
    return max(min(longest, _NARROW), min(word, _NARROW))


def _wanted(one: Measured) -> list[int]:
    """Return the positions of the columns that a terminal of any width shows."""
    return [n for n, column in enumerate(one.table.columns) if column.name not in one.table.aside]


def _that_fit(one: Measured, width: int) -> list[int]:
    """Return the positions of the columns that fit."""
    columns = one.table.columns
    kept = _wanted(one)
    places = {column.name: place for place, column in enumerate(columns)}
    natural = one.natural_widths()
    for name in one.table.gives_way:
        if sum(natural[place] for place in kept) <= width:
            break
        if places.get(name) in kept:
            kept.remove(places[name])
    return kept


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
    """Draw the last values that fit; a height of zero is a blank."""
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
