"""What commands print: one thing or many, as a table for people, JSON or CSV for programs.

Data goes to stdout, messages to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from kling_pricing.errors import MOST_TOLD

Row = Mapping[str, Any]
_SET_BY_RICH: Final = 1000
"""The most rows of a table: rich takes a second for two thousand."""
Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")


def say_first(
    many: Sequence[Item], line: Callable[[Item], str], rest: Callable[[int], str]
) -> None:
    """Print a line for each of the first, and count the others in one more line."""
    for one in many[:MOST_TOLD]:
        say(line(one))
    if len(many) > MOST_TOLD:
        say(rest(len(many) - MOST_TOLD))


def format_option(command: Command) -> Command:
    """Add `--format table|json|csv` to a command."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="The output format.",
    )(command)


def database_option(command: Command) -> Command:
    """Add `--db` to a command; its value reaches the command as `db`."""
    return click.option(
        "--db",
        metavar="URL",
        help="The ledger's database: a file, an sqlite:/// address, or PostgreSQL as "
        "postgresql://user@host/name. "
        "[env: KLING_LEDGER_DB; default: a file in your data folder]",
    )(command)


def listening_options(*, port: int) -> Callable[[Command], Command]:
    """Return the decorator for `--host` and `--port`; by default only this machine can connect."""

    def add(command: Command) -> Command:
        host_option = click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        )
        port_option = click.option(
            "--port",
            default=port,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="Port to listen on; 0 picks a free one.",
        )
        return host_option(port_option(command))

    return add


def print_one(thing: Row, form: str, *, table: Callable[[], None] | None = None) -> None:
    """Print one thing: a JSON object, a CSV of one row, or a table of its fields."""
    if form == "json":
        print_json(thing)
    elif form == "csv":
        print_csv([thing], list(thing))
    elif table is not None:
        table()
    else:
        fields = [
            {"field": name, "value": _text(value)}
            for name, value in thing.items()
            if value not in (None, [], {})
        ]
        if _is_room(fields, ["field", "value"]):
            print_table(fields, ["field", "value"], figures=False)
        else:
            _print_records([thing], list(thing))


def print_many(
    rows: Sequence[Row],
    columns: Sequence[str],
    form: str,
    *,
    empty: str,
    optional: Sequence[str] = (),
) -> None:
    """Print rows: a JSON array, CSV, or a table; `empty` is the message if there are none.

    If a terminal is too narrow, the `optional` columns are dropped in their order. If most of them
    had to go, or words would be cut, each row is printed as a record with all fields.
    """
    if form == "json":
        print_json(list(rows))
    elif form == "csv":
        print_csv(rows, columns)
    elif rows:
        kept = _that_fit(rows, columns, optional)
        if len(kept) * 2 < len(columns) or not _is_room(rows, kept):
            _print_records(rows, columns)
            return
        print_table(rows, kept)
        left_out = [name.replace("_", " ") for name in columns if name not in kept]
        if left_out:
            say(f"note: no room for {', '.join(left_out)}; --format json has all")
    else:
        say(empty)


def print_json(thing: Any) -> None:
    """Print JSON. Amounts are already strings: money is never a float."""
    click.echo(json.dumps(thing, indent=2, ensure_ascii=False))


def print_json_rows(rows: Iterable[Row]) -> None:
    """Print a JSON array as `print_json` does, row by row as they come."""
    is_first = True
    for row in rows:
        # JSON strings contain no line breaks, so this indents only the lines of the object.
        written = json.dumps(row, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        click.echo(f"[\n  {written}" if is_first else f",\n  {written}", nl=False)
        is_first = False
    click.echo("[]" if is_first else "\n]")


def print_csv(rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Print CSV; no spreadsheet reads its text cells as formulas."""
    import csv

    from kling_ledger.tabular.cells import guarded

    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: guarded(row.get(name)) for name in columns})


def print_table(
    rows: Sequence[Row], columns: Sequence[str], *, title: str | None = None, figures: bool = True
) -> None:
    """Print a table; with `figures` numbers are right-aligned."""
    lines = _plain_lines(rows, columns, title, figures=figures)
    if lines is None:
        _print_rich_table(rows, columns, title=title, figures=figures)
    for line in lines or ():
        click.echo(line)


def _plain_lines(
    rows: Sequence[Row], columns: Sequence[str], title: str | None, *, figures: bool
) -> list[str] | None:
    """Return a table's lines for a file or a pipe; None if only rich can lay it out."""
    is_for_a_person = sys.stdout.isatty() and len(rows) <= _SET_BY_RICH
    if is_for_a_person or "utf" not in (sys.stdout.encoding or "").lower():
        return None
    from kling_ledger.cli.plain_table import plain_table

    texts = [[_text(row.get(name)) for name in columns] for row in rows]
    right = {place for place, name in enumerate(columns) if figures and _has_figures(rows, name)}
    return plain_table(
        [name.replace("_", " ") for name in columns], texts, right=right, title=title
    )


def _print_rich_table(
    rows: Sequence[Row], columns: Sequence[str], *, title: str | None, figures: bool
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )
    for name in columns:
        is_figure = figures and _has_figures(rows, name)
        table.add_column(
            name.replace("_", " "),
            justify="right" if is_figure else "left",
            min_width=_least(rows, name),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    needed = _needed(rows, columns)
    console = Console(width=max(_width(), needed), markup=False, highlight=False)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def _print_records(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print each row as lines, one per non-empty field; the terminal wraps long ones."""
    longest = max(len(name) for name in columns)
    for row in rows:
        click.echo()
        for name in columns:
            if text := _text(row.get(name)):
                lines = text.replace("\n", f"\n{' ' * (longest + 2)}")
                click.echo(f"{name.replace('_', ' '):>{longest}}  {lines}")
    click.echo()


def _width() -> int:
    """Return how wide the terminal is; a file or a pipe has no width, and nothing is cut there."""
    if not sys.stdout.isatty():
        return 10_000
    import shutil

    return shutil.get_terminal_size().columns


def _that_fit(
    rows: Sequence[Row], columns: Sequence[str], optional: Sequence[str]
) -> Sequence[str]:
    kept = list(columns)
    # Without a width nothing is cut, so nothing needs measuring.
    for name in optional if sys.stdout.isatty() else ():
        if _natural_width(rows, kept) <= _width():
            break
        # Amounts in several units mean nothing without the unit column.
        if name != "unit" or len({row.get(name) for row in rows}) == 1:
            kept.remove(name)
    return kept


def _is_room(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    """Whether a table fits without cutting a word, figure or id."""
    return not sys.stdout.isatty() or _needed(rows, columns) <= _width()


def _needed(rows: Sequence[Row], columns: Sequence[str]) -> int:
    return sum(_least(rows, name) + 2 for name in columns)


def _least(rows: Sequence[Row], name: str) -> int:
    """Return the smallest width of a column: it is wrapped only between words."""
    texts = [name.replace("_", " "), *(_text(row.get(name)) for row in rows)]
    return max((len(word) for text in texts for word in text.split()), default=0)


def _natural_width(rows: Sequence[Row], columns: Sequence[str]) -> int:
    widths = (
        max(len(name), *(_longest_line(_text(row.get(name))) for row in rows)) for name in columns
    )
    return sum(width + 2 for width in widths)


def _longest_line(text: str) -> int:
    return max(map(len, text.split("\n")))


def instant(at: datetime) -> str:
    """Write an aware instant in UTC, to the millisecond: 2026-11-21T01:02:46.734Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def say(text: str) -> None:
    """Print a message to stderr, apart from the data on stdout."""
    click.echo(text, err=True)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{name}={part}" for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        return "\n".join(str(part) for part in value)
    return str(value)


def _has_figures(rows: Sequence[Row], name: str) -> bool:
    """Whether a column holds only figures: those are right-aligned."""
    told = [row[name] for row in rows if row.get(name) not in (None, "", [], {})]
    return bool(told) and all(map(_is_figure, told))


def _is_figure(value: object) -> bool:
    if isinstance(value, bool):
        return False
    from kling_ledger.tabular.cells import is_number

    return isinstance(value, int) or is_number(str(value))
