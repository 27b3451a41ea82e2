"""CSV: rows of text cells under a header, parted by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Block, Row, checked_columns, in_chunks, size_of
from kling_pricing.spellings import trimmed

_LONGEST_LINE: Final = 1 << 20
"""How many characters the header may have, so that a file without lines is not read as one."""

Line = tuple[int, Sequence[str]]
"""The cells of one row, and the number of the line that it ends on."""


def delimiter_of(header: str) -> str:
    """Return what parts the cells of a CSV file: a comma, a semicolon or a tab."""
    return max(",;\t", key=header.count)


class CsvTable:
    """A file of CSV in UTF-8, as a spreadsheet exports it. Rows without a cell are no rows.

    A first line such as `sep=;` says what parts cells. The names of columns are stripped of blanks
    around them, columns without a name are numbered, and cells are kept as they are written.
    """

    kind: Kind = "csv"
    encoding = "utf-8"
    is_json = False

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)
        _, header = next(self._lines(), (0, ()))
        names = [trimmed(cell) for cell in header]
        self.columns = checked_columns(
            [cell or f"column {number}" for number, cell in enumerate(names, 1)], name
        )

    def rows(self) -> Iterator[Row]:
        """Read row by row; a quote that is never closed ends the file."""
        for number, cells in self._rows():
            problem = self._problem(cells)
            said = {} if problem else dict(zip(self.columns, cells, strict=False))
            yield Row(f"line {number}", said, problem)

    def blocks(self) -> Iterator[Block]:
        """Read many rows at a time; one of another width is cut or filled up, and told."""
        import pandas as pd

        width = len(self.columns)
        for some in in_chunks(self._rows(), self.read_bytes):
            problems = {
                place: f"line {number}: {self._problem(cells)}"
                for place, (number, cells) in enumerate(some)
                if len(cells) != width
            }
            for place in problems:
                number, cells = some[place]
                some[place] = number, [*cells, *[""] * width][:width]
            columns = zip(*(cells for _, cells in some), strict=True)
            named = zip(self.columns, columns, strict=True)
            yield Block(
                pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in named}),
                problems,
            )

    def share(self) -> float:
        """How far the file is read."""
        return self.read_bytes() / self._size

    def read_bytes(self) -> int:
        """How much of the file is read."""
        return self._file.tell()

    def _problem(self, cells: Sequence[str]) -> str | None:
        width = len(self.columns)
        return None if len(cells) == width else f"{len(cells)} cells under a header of {width}"

    def _rows(self) -> Iterator[Line]:
        """Read the rows below the header, without blank cells beyond its end."""
        lines = self._lines()
        next(lines, None)
        width = len(self.columns)
        for number, cells in lines:
            if len(cells) <= width or any(map(trimmed, cells[width:])):
                yield number, cells
            else:
                yield number, cells[:width]

    def _lines(self) -> Iterator[Line]:
        """Read every row that has something in it, the header first."""
        with self._reader() as (reader, above):
            for cells in reader:
                # Nearly every row begins with a cell: the others are looked at in full.
                if cells and (cells[0].strip() or any(map(trimmed, cells))):
                    yield reader.line_num + above, cells

    @contextmanager
    def _reader(self) -> Iterator[tuple[Any, int]]:
        """Give a reader of the cells, and how many lines stand above them."""
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            delimiter, above = self._parting(text)
            yield csv.reader(text, delimiter=delimiter, strict=True), above
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.name}: this is no CSV in UTF-8: {error}") from None
        finally:
            # Python closes the file under a text that nobody refers to any more. A reader that is
            # given up half way may end after its file.
            if not self._file.closed:
                text.detach()

    def _parting(self, text: io.TextIOWrapper) -> tuple[str, int]:
        """Return what parts cells, and how many lines are read; the next one is the header."""
        said = _parted_by(self._first_line(text))
        if said is not None:
            return said, 1
        text.seek(0)
        header = ""
        while not trimmed(header):
            header = self._first_line(text)
        text.seek(0)
        return delimiter_of(header), 0

    def _first_line(self, text: io.TextIOWrapper) -> str:
        line = text.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise ConfigError(f"{self.name}: its first line never ends: this is no CSV")
        return line


def _parted_by(line: str) -> str | None:
    """Return what a line such as `sep=;` says that parts cells; None for another line."""
    said = line.strip("\r\n").strip('"')
    if said[:4].lower() != "sep=" or len(said) != len("sep=;"):
        return None
    return said[4:]
