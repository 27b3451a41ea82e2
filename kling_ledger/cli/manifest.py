"""`kling-ledger quote --manifest`: price a file of clips, and print the totals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kling_ledger.cli.output import print_table, say
from kling_ledger.errors import ConfigError
from kling_ledger.manifests.pricing import Tally, misspelt_columns, price_chunk, replaced_columns
from kling_ledger.manifests.reading import Manifest, open_manifest
from kling_ledger.manifests.units import in_units
from kling_ledger.tabular.cells import json_text
from kling_ledger.tabular.encodings import encoding_note
from kling_ledger.tabular.files import STDIN, kind_by_name
from kling_ledger.tabular.frames import rows_of
from kling_ledger.tabular.writing import WriteFrame, frame_file, frame_writer
from kling_pricing.counting import counted
from kling_pricing.errors import MOST_TOLD, NoPriceError, cut
from kling_pricing.library import Library, at_hand

if TYPE_CHECKING:
    import pandas as pd

    from kling_pricing.bulk import Known

EXIT_PRICED: Final = 0
EXIT_BAD_INPUT: Final = 2
EXIT_NO_PRICE: Final = 7

TABLE_ROWS: Final = 1_000
"""How many rows a table shows; a file or another format has them all."""

_LONGEST_CELL: Final = 500
"""How many characters of a cell a table shows."""


def quote_manifest(
    name: str, *, at: datetime, form: str, out: str | None = None, library: Library | None = None
) -> int:
    """Price every clip of a manifest; return the exit code.

    `name` is a CSV, JSON, JSONL or Parquet file, or - for one on stdin. The rows are written to
    `out`, in the format that its extension says, or printed; totals and errors go to stderr.
    Columns that are not part of a clip are kept, except those named like an answer: new answers
    replace them, and stderr names them. Raises ConfigError for a file that cannot be read or
    written.
    """
    library = library or at_hand()
    tally = Tally()
    known: Known = {}
    with open_manifest(name) as manifest, _progress(name, out) as advance:
        _warn_about(manifest)
        with _sink(out, form, name) as write:
            for chunk in manifest.chunks:
                priced = price_chunk(chunk, at, library, known)
                write(priced)
                tally.add(priced)
                advance(chunk.share)
            if not tally.rows:
                raise ConfigError(f"{name}: no clips in it")
    _tell(tally, is_shown=out is None and form == "table")
    return _exit_code(tally)


def _exit_code(tally: Tally) -> int:
    """Return the exit code: bad input comes before a missing price."""
    if not tally.codes:
        return EXIT_PRICED
    return EXIT_NO_PRICE if set(tally.codes) == {NoPriceError.code} else EXIT_BAD_INPUT


def _tell(tally: Tally, *, is_shown: bool) -> None:
    """Print the totals to stderr, and the rows without a price unless the table shows them."""
    if tally.sums is None:
        return
    rows = rows_of(in_units(tally.sums))
    with redirect_stdout(sys.stderr):
        print_table(rows, list(rows[0]), title="totals")
    if not tally.codes:
        return
    for place, error in () if is_shown else tally.first:
        say(f"row {place}: {error}")
    if not is_shown and tally.codes.total() > len(tally.first):
        left = tally.codes.total() - len(tally.first)
        say(f"and {counted(left, 'more row')}")
    because = ", ".join(f"{code} {count}" for code, count in sorted(tally.codes.items()))
    failed = f"{tally.codes.total()} of {tally.rows} rows"
    say(f"{failed} have no price ({because}): their error column says why")


def _warn_about(manifest: Manifest) -> None:
    guessed = encoding_note(manifest.encoding)
    if guessed is not None:
        say(f"note: {guessed}")
    columns = manifest.columns
    replaced = replaced_columns(columns)
    if replaced:
        say(f"warning: columns replaced by new answers: {', '.join(replaced)}")
    for column, meant in misspelt_columns(columns).items():
        say(f"warning: the column {column} is not used for the price; did you mean {meant}?")


def _sink(out: str | None, form: str, name: str) -> AbstractContextManager[WriteFrame]:
    """Write to a file in the format of its extension, or print; never overwrite `name`."""
    if out is None and form == "table":
        return _table_printer()
    if out is None:
        return _in_units(frame_writer(sys.stdout, "json" if form == "json" else "csv"))
    path, kind = Path(out), kind_by_name(out)
    if path.exists() and name != STDIN and path.samefile(name):
        raise ConfigError(f"{out}is the manifest itself: choose another file")
    # Parquet has types, so millionths stay exact integers there.
    return frame_file(path, kind) if kind == "parquet" else _in_units(frame_file(path, kind))


@contextmanager
def _in_units(writer: AbstractContextManager[WriteFrame]) -> Iterator[WriteFrame]:
    with writer as write:
        yield lambda frame: write(in_units(frame))


@contextmanager
def _table_printer() -> Iterator[WriteFrame]:
    shown: list[dict[str, Any]] = []
    rows = bad = 0

    def write(frame: pd.DataFrame) -> None:
        nonlocal rows, bad
        is_bad = frame["error"].notna()
        is_one_of_first = is_bad.cumsum() + bad <= MOST_TOLD
        rows, bad = rows + len(frame), bad + int(is_bad.sum())
        some = frame[~is_bad | is_one_of_first].head(TABLE_ROWS - len(shown))
        shown.extend(map(_for_people, rows_of(in_units(some))))

    yield write
    if shown:
        print_table(shown, _worth_showing(shown))
    if rows > len(shown):
        first = f"the first {MOST_TOLD} of {bad:,} without a price; " if bad > MOST_TOLD else ""
        say(f"{len(shown)} of {rows} rows; {first}--out FILE or --format csv has them all")


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Cut long cells, such as a whole request; errors stay whole."""
    return {name: cell if name == "error" else _cut(cell) for name, cell in row.items()}


def _cut(cell: Any) -> Any:
    text = json_text(cell) if isinstance(cell, (dict, list)) else cell
    is_long = isinstance(text, str) and len(text) > _LONGEST_CELL
    return cut(text, _LONGEST_CELL) if is_long else cell


def _worth_showing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns worth showing to a person: a range only if there is one."""
    used = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    if any(row["low"] != row["amount"] for row in rows):
        return used
    return [name for name in used if name not in {"low", "expected"}]


@contextmanager
def _progress(name: str, out: str | None) -> Iterator[Callable[[float], None]]:
    """Show progress on a terminal, unless the rows are printed to the same one."""
    if not sys.stderr.isatty() or (out is None and sys.stdout.isatty()):
        yield lambda _share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"pricing {click.format_filename(name, shorten=True)}", total=1.0)
        yield lambda share: bar.update(task, completed=share)
