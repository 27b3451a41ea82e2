"""CSV: rows of text cells under a header, separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import gc
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Final

from kling_ledger.errors import ConfigError
from kling_ledger.tabular import table
from kling_ledger.tabular.files import Kind
from kling_ledger.tabular.table import Block, Row, checked_columns, size_of
from kling_pricing.spellings import trimmed

_LONGEST_LINE: Final = 1 << 20
"""The most characters in a header, so that a file without line breaks is not read as one."""

_BREAK: Final = re.compile("\r\n|\r|\n")

Line = tuple[int, Sequence[str]]
"""The cells of one row, and the number of the line that it ends on."""


def delimiter_of(header: str) -> str:
    """Return the delimiter of a CSV file: a comma, a semicolon or a tab."""
    return max(",;\t", key=header.count)


class CsvTable:
    """A UTF-8 CSV file, as a spreadsheet exports it. Empty rows are skipped.

    A first line such as `sep=;` gives the delimiter. Column names are stripped of surrounding
    blanks, columns without a name are numbered, and cells are kept as written.
    """

    kind: Kind = "csv"
    encoding = "utf-8"
    is_json = False

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self._file = file
        self._size = size_of(file)
        header = next((cells for _, cells in self._lines() if _has_cells(cells)), ())
        names = [trimmed(cell) for cell in header]
        self.columns = checked_columns(
            [cell or f"column {number}" for number, cell in enumerate(names, 1)], name
        )

    def rows(self) -> Iterator[Row]:
        """Read row by row; an unclosed quote ends the file."""
        for number, cells in islice(self._rows(self._lines()), 1, None):
            problem = self._problem(cells)
            said = {} if problem else dict(zip(self.columns, cells, strict=False))
            yield Row(f"line {number}", said, problem)

    def blocks(self) -> Iterator[Block]:
        """Read many rows at a time; a row of another width is reported, and cut or padded."""
        with self._reader() as (reader, above):
            next(filter(_has_cells, reader), None)
            begun = reader.line_num
            while rows := self._some(reader):
                is_a_line_each = reader.line_num - begun == len(rows)
                block = self._block(rows, begun + above, is_a_line_each=is_a_line_each)
                begun = reader.line_num
                if len(block.frame):
                    yield block

    def _some(self, reader: Iterator[Sequence[str]]) -> list[Sequence[str]]:
        """Read a block of raw rows; fewer if they are long."""
        rows: list[Sequence[str]] = []
        begun = self.read_bytes()
        with _without_collections():
            while some := list(
                islice(reader, min(table.LOOKS_EVERY, table.CHUNK_ROWS - len(rows)))
            ):
                rows += some
                if self.read_bytes() - begun > table.CHUNK_BYTES:
                    break
        return rows

    def _block(self, rows: list[Sequence[str]], above: int, *, is_a_line_each: bool) -> Block:
        problems: dict[int, str] = {}
        if not self._are_plain(rows):
            rows, problems = self._mended(_numbered(rows, above, is_a_line_each=is_a_line_each))
        from kling_ledger.tabular.frames import frame_of_texts

        return Block(frame_of_texts(self.columns, rows), problems)

    def _are_plain(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether every row has as many cells as the header, and a non-blank first cell."""
        is_even = set(map(len, rows)) == {len(self.columns)}
        return is_even and all(map(str.strip, map(itemgetter(0), rows)))

    def _mended(self, lines: Iterable[Line]) -> tuple[list[Sequence[str]], dict[int, str]]:
        """Return the non-empty rows, each cut or padded to the header's width."""
        rows: list[Sequence[str]] = []
        problems: dict[int, str] = {}
        for number, cells in self._rows(lines):
            if (problem := self._problem(cells)) is not None:
                problems[len(rows)] = f"line {number}: {problem}"
            rows.append([*cells, *[""] * len(self.columns)][: len(self.columns)])
        return rows, problems

    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return self.read_bytes() / self._size

    def read_bytes(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()

    def _problem(self, cells: Sequence[str]) -> str | None:
        width = len(self.columns)
        return None if len(cells) == width else f"{len(cells)} cells under a header of {width}"

    def _rows(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Skip empty rows, and drop empty cells beyond the header."""
        width = len(self.columns)
        for number, cells in lines:
            if _has_cells(cells):
                is_whole = len(cells) <= width or _has_cells(cells[width:])
                yield number, cells if is_whole else cells[:width]

    def _lines(self) -> Iterator[Line]:
        """Read every row, including the header and those above it."""
        with self._reader() as (reader, above):
            for cells in reader:
                yield reader.line_num + above, cells

    @contextmanager
    def _reader(self) -> Iterator[tuple[Any, int]]:
        """Return a reader of the cells, and the number of lines above them."""
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            delimiter, above = self._parting(text)
            yield csv.reader(text, delimiter=delimiter, strict=True), above
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.name}: not CSV in UTF-8: {error}") from None
        finally:
            # Python closes the file with a text wrapper that is no longer referenced, and an
            # abandoned reader may outlive its file.
            if not self._file.closed:
                text.detach()

    def _parting(self, text: io.TextIOWrapper) -> tuple[str, int]:
        """Return the delimiter and the number of lines read; the next line is the header."""
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
            raise ConfigError(f"{self.name}: not CSV: its first line never ends")
        return line


@contextmanager
def _without_collections() -> Iterator[None]:
    """Disable garbage collection while many rows are created: they then take a third as long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _has_cells(cells: Sequence[str]) -> bool:
    return any(map(trimmed, cells))


def _numbered(rows: Sequence[Sequence[str]], above: int, *, is_a_line_each: bool) -> Iterator[Line]:
    """Return rows with the number of the line that each ends on, counting from `above`."""
    number = above
    for cells in rows:
        number += 1 if is_a_line_each else 1 + sum(len(_BREAK.findall(cell)) for cell in cells)
        yield number, cells


def _parted_by(line: str) -> str | None:
    """Return the delimiter that a line such as `sep=;` gives; None for any other line."""
    said = line.strip("\r\n").strip('"')
    if said[:4].lower() != "sep=" or len(said) != len("sep=;"):
        return None
    return said[4:]
